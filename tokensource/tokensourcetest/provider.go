package tokensourcetest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// The providers that can be emulated. Their names are the names of the presets.
const (
	TinyPlus    = "tinyplus"
	TinyEmail   = "tinyemail"
	Accelo      = "accelo"
	Biggerplate = "biggerplate"
	Tiltify     = "tiltify"
	TiltifyV3   = "tiltify_v3"

	// AffinityLive is the older name of Accelo. Both mean the same provider.
	AffinityLive = "affinitylive"
)

// DefaultRedirectURI is the registered redirect URI if ProviderConfig.RedirectURIs is nil.
const DefaultRedirectURI = "https://client.example/callback"

// The types of an application at Accelo.
const (
	// ApplicationInstalled shows the user a PIN.
	ApplicationInstalled = "installed"
	// ApplicationWeb redirects the user.
	ApplicationWeb = "web"
	// ApplicationService has client_credentials and no user.
	ApplicationService = "service"
)

// ProviderConfig configures a [Provider]. The zero ProviderConfig is the provider as its own pages
// describe it, with one client and one user, ada.
type ProviderConfig struct {
	// Config configures the server. A zero field takes the provider's value. Fields that the
	// provider's pages leave open may be set: the lifetime, Rotation, Expiry, RefuseLateRefresh,
	// the scheme at the API. Paths, places of parameters and client authentication always follow
	// the provider.
	Config
	// RedirectURIs are the registered redirect URIs, compared exactly. If nil:
	// [DefaultRedirectURI]. See also [Provider.SetRedirectURIs].
	RedirectURIs []string
	// Users are the users that may log in, with any password that is not empty. Default: ada.
	Users []string
	// CodeLifetime is how long a code or PIN is valid. Default: 10 minutes.
	CodeLifetime time.Duration

	// Fragment puts tiny+'s token into the fragment of the redirect, as RFC 6749 section 4.2.2
	// requires. By default it is in the query, as tiny+'s page says.
	Fragment bool
	// Application is the type of the application at Accelo. Default: [ApplicationInstalled].
	Application string
	// Deployments are Accelo's customers. Default: one, acme.
	Deployments []string
	// RequirePAR accepts only authorization requests that were pushed (RFC 9126).
	RequirePAR bool
	// LockOut applies to Accelo only.
	LockOut LockOut
}

// Provider is a [Server] that behaves like one real provider. It is as strict as that provider's
// pages: it refuses everything that they do not allow. In addition to the token endpoint and the
// API it has the authorize endpoint, with a login page and a consent page. It has a revocation
// endpoint if the provider has one.
type Provider struct {
	*Server
	name string
}

// profiles make the emulations of the providers that behave in ways that no field of their preset
// describes. Each profile fills in the zero fields of the configuration, and says how the provider
// differs. All other presets are emulated from their data.
var profiles = map[string]func(*ProviderConfig) *emulation{
	TinyPlus:    tinyPlus,
	TinyEmail:   tinyEmail,
	Accelo:      accelo,
	Biggerplate: biggerplate,
	Tiltify:     tiltify,
	TiltifyV3:   tiltifyV3,
}

// Providers returns the names of all providers that can be emulated, which are all presets.
func Providers() []string { return provider.Names() }

// ListenProvider starts the provider with that name. The caller must close it.
func ListenProvider(name string, cfg ProviderConfig) (*Provider, error) {
	preset, known := provider.Get(name)
	if !known {
		return nil, fmt.Errorf("there is no provider %q; there are %s", name, strings.Join(Providers(), ", "))
	}
	profile := profiles[preset.Name]
	if profile == nil {
		profile = func(cfg *ProviderConfig) *emulation { return emulatePreset(preset, cfg) }
	}
	return listenProvider(name, cfg, profile)
}

// listenProvider starts the provider that profile makes.
func listenProvider(name string, cfg ProviderConfig, profile func(*ProviderConfig) *emulation) (*Provider, error) {
	if !slices.Contains([]string{"", ApplicationInstalled, ApplicationWeb, ApplicationService}, cfg.Application) {
		return nil, fmt.Errorf("unknown ProviderConfig.Application %q", cfg.Application)
	}
	cfg.Clients = slices.Clone(cfg.Clients)
	cfg.TLSNames = slices.Clone(cfg.TLSNames)
	e := profile(&cfg)
	if cfg.RedirectURIs == nil {
		cfg.RedirectURIs = []string{DefaultRedirectURI}
	}
	if cfg.Users == nil {
		cfg.Users = []string{"ada"}
	}
	if cfg.CodeLifetime == 0 {
		cfg.CodeLifetime = 10 * time.Minute
	}
	e.authorize.redirectURIs = slices.Clone(cfg.RedirectURIs)
	e.authorize.users = slices.Clone(cfg.Users)
	e.authorize.codeLifetime = cfg.CodeLifetime
	e.requirePAR = cfg.RequirePAR
	e.codes, e.pending = map[string]*authCode{}, map[string]*pendingConsent{}
	if err := e.listenFurther(); err != nil {
		return nil, err
	}
	srv, err := listen(cfg.Config, e)
	if err != nil {
		e.closeFurther()
		return nil, err
	}
	return &Provider{Server: srv, name: name}, nil
}

// StartProvider is [ListenProvider] for a test. It panics on an error, and closes the provider when
// the test ends.
func StartProvider(t T, name string, cfg ProviderConfig) *Provider {
	t.Helper()
	p, err := ListenProvider(name, cfg)
	if err != nil {
		panic("tokensourcetest: " + err.Error())
	}
	t.Cleanup(p.Close)
	return p
}

// listenFurther opens a port for each deployment after the first one.
func (e *emulation) listenFurther() error {
	for i, name := range e.deployments {
		if name == "" || strings.Contains(name, ".") || slices.Contains(e.deployments[:i], name) {
			e.closeFurther()
			return errors.New("the names of deployments must be different, and without dots")
		}
		if i == 0 {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			e.closeFurther()
			return fmt.Errorf("listening on loopback: %w", err)
		}
		e.further = append(e.further, l)
	}
	return nil
}

func (e *emulation) closeFurther() {
	for _, l := range e.further {
		_ = l.Close()
	}
}

// client adds one client if there is none, and sets how all clients may authenticate.
func (c *ProviderConfig) client(id string, auth []AuthMethod, formats ...BodyFormat) {
	if len(c.Clients) == 0 {
		c.Clients = []Client{{ID: id, Secrets: []string{DefaultClientSecret}}}
	}
	for i := range c.Clients {
		c.Clients[i].Auth, c.Clients[i].Formats = auth, formats
	}
}
