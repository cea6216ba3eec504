package tokensourcetest

import "github.com/authinject/caddy-authinject/tokensource/provider"

// ListenPreset starts the emulation of a preset that has no profile.
func ListenPreset(preset provider.Preset, cfg ProviderConfig) (*Provider, error) {
	return listenProvider(preset.Name, cfg, func(cfg *ProviderConfig) *emulation { return emulatePreset(preset, cfg) })
}
