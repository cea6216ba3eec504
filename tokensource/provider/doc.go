// Package provider holds presets for APIs, one file each. A preset fills in a token source, so that
// a user gives only a client id and a secret.
//
//	p, ok := provider.Get("accelo")
//	tokenURL, err := p.Expand(p.TokenURL, map[string]string{"deployment": "planet-express"})
//
// A preset is pure data. It follows the provider's own pages, and a comment names the source of
// each value. What the provider has not published is not set, and is listed in [Preset.Unknown]. A
// user may override every value.
//
// To add a provider, add one file that calls register. The tests compare it with a schema, with a
// golden file of [Preset.Describe], which `make golden` writes, and with an emulator in package
// tokensourcetest, which is made from the preset.
//
// The package imports nothing of this project. It is safe for concurrent use, because each preset
// that it returns is a copy.
package provider
