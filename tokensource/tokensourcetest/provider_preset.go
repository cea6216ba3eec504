package tokensourcetest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// emulatePreset emulates a provider that does exactly what its preset says: the paths, the client
// authentication, the body format, the required parameters, the error code for a dead refresh
// token, and how the API accepts tokens. A provider that behaves in a way that no field of the
// preset describes, such as a lock-out, has its own emulation in profiles.
func emulatePreset(preset provider.Preset, cfg *ProviderConfig) *emulation {
	e := &emulation{
		authorizePath:   presetPath(preset, preset.AuthorizeURL),
		revokePath:      presetPath(preset, preset.RevokeURL),
		noTokenEndpoint: preset.TokenURL == "",
		grants:          slices.Clone(preset.Grants),
		lifetimeParam:   preset.LifetimeParam.Name,
		authorize: authorizeRules{
			responseType: "code", fixed: map[string]string{}, pin: preset.RedirectURL == provider.RedirectManual,
			fragment: preset.ImplicitAnswer == provider.AnswerFragment,
		},
		checkToken: func(rec *TokenRequest, in input) *oauthError { return checkPreset(preset, rec, in) },
		translateError: func(rec *TokenRequest, e *oauthError) *oauthError {
			if e.code == "invalid_grant" && rec.Grant == grantRefreshToken && len(preset.DeadGrantErrors) > 0 {
				return errorf(e.status, preset.DeadGrantErrors[0], e.description)
			}
			return e
		},
		scopes: func(requested string) ([]string, *oauthError) {
			known := func(s provider.Scope) bool { return s.Name == requested }
			if preset.OneScope && !slices.ContainsFunc(preset.KnownScopes, known) {
				return nil, errorf(http.StatusBadRequest, "invalid_scope", "exactly one of the known scopes is needed")
			}
			separator := func(r rune) bool { return strings.ContainsRune(preset.ScopeSeparator+" ", r) }
			return strings.FieldsFunc(requested, separator), nil
		},
	}
	if preset.Offers(grantImplicit) {
		e.authorize.responseType = "token"
	}
	for _, param := range preset.AuthorizeParams {
		e.authorize.fixed[param.Name] = param.Value
	}
	auth := []AuthMethod{AuthMethod(preset.ClientAuth)}
	for _, other := range preset.ClientAuthAlternatives {
		auth = append(auth, AuthMethod(other))
	}
	cfg.client(DefaultClientID, auth, BodyFormat(preset.BodyFormat))
	cfg.TokenPath, cfg.APIQueryParameter = presetPath(preset, preset.TokenURL), Absent
	if len(preset.TokenTypes) > 0 && cfg.TokenType == "" {
		cfg.TokenType = preset.TokenTypes[0]
	}
	if cfg.AccessTokenLifetime == 0 && preset.DefaultLifetime > 0 {
		cfg.AccessTokenLifetime = preset.DefaultLifetime
	}
	if preset.DefaultLifetime == provider.NeverExpires {
		cfg.AccessTokenLifetime, cfg.Expiry = endless, ExpiryAbsent
	}
	if preset.Rotates == provider.RotationYes && cfg.Rotation == (Rotation{}) {
		cfg.Rotation = StrictRotation()
	}
	for _, place := range append(slices.Clone(preset.InjectAlternatives), preset.Inject) { // the last place counts
		switch {
		case place.Place == provider.PlaceQuery:
			cfg.APIQueryParameter = place.Name
		case place.Scheme == "":
			e.bareToken, cfg.APIHeader = true, place.Name
		default:
			cfg.APIHeader, cfg.APIScheme = place.Name, place.Scheme
		}
	}
	return e
}

// checkPreset refuses a token request that lacks a parameter of the preset, or that has one which
// the preset does not add to such a request.
func checkPreset(preset provider.Preset, rec *TokenRequest, in input) *oauthError {
	for _, param := range preset.TokenParams {
		if got := rec.Params.Get(param.Name); param.On(rec.Grant) != (got == param.Value) {
			return errorf(http.StatusBadRequest, "invalid_request", "check the parameter "+param.Name)
		}
	}
	if preset.ClientIDParam && in.body.Get("client_id") == "" && in.query.Get("client_id") == "" {
		return errorf(http.StatusBadRequest, "invalid_request", "client_id is missing among the parameters")
	}
	return nil
}

// presetPath returns the path of one of a preset's URLs.
func presetPath(preset provider.Preset, raw string) string {
	for _, v := range preset.Variables {
		raw = strings.ReplaceAll(raw, "{"+v.Name+"}", v.Example)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Path
}
