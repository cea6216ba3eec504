// Package provider holds what is known about the APIs that this project knows
// by name: presets, one file each, that fill in a token source so that a user
// gives a client id and a secret and no more.
//
//	p, ok := provider.Get("accelo")
//	tokenURL, err := p.Expand(p.TokenURL, map[string]string{"deployment": "planet-express"})
//
// A preset is pure data. It says what the provider's own pages say, and each
// value has its source beside it in the code. What nobody has published stays
// unset, and is listed in [Preset.Unknown]. Whatever a preset sets, a user may
// override.
//
// Adding a provider is adding one file that calls register: the tests hold it to a
// schema, to a golden file of [Preset.Describe], which `make golden` writes, and to an
// emulator in package tokensourcetest, which is made from the preset.
//
// The package imports nothing of this project, and is safe for concurrent use:
// every preset that it hands out is the caller's own copy.
package provider
