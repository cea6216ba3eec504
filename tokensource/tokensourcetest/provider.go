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

// The providers that can be emulated, by the names of their presets.
const (
	TinyPlus    = "tinyplus"
	TinyEmail   = "tinyemail"
	Accelo      = "accelo"
	Biggerplate = "biggerplate"
	Tiltify     = "tiltify"
	TiltifyV3   = "tiltify_v3"

	// AffinityLive is the older name of Accelo, and means the same.
	AffinityLive = "affinitylive"
)

// DefaultRedirectURI is registered where ProviderConfig.RedirectURIs is nil.
const DefaultRedirectURI = "https://client.example/callback"

// The types of an application at Accelo.
const (
	// ApplicationInstalled shows its user a PIN.
	ApplicationInstalled = "installed"
	// ApplicationWeb redirects its user.
	ApplicationWeb = "web"
	// ApplicationService has client_credentials, and no user.
	ApplicationService = "service"
)

// ProviderConfig is what a [Provider] is. The zero ProviderConfig is the provider as
// its own pages describe it, with one client and one user, ada.
type ProviderConfig struct {
	// Config is the server below. What is zero in it is as the provider has it;
	// what the provider's pages leave open may be set: the lifetime, Rotation,
	// Expiry, RefuseLateRefresh, the scheme at the API. Paths, places of
	// parameters and client authentication are the provider's own.
	Config
	// RedirectURIs are the registered redirect URIs, compared as they are. Nil:
	// [DefaultRedirectURI]. See also [Provider.SetRedirectURIs].
	RedirectURIs []string
	// Users are who may log in, with any password that is not empty. Default: ada.
	Users []string
	// CodeLifetime is how long a code or PIN is good. Default: 10 minutes.
	CodeLifetime time.Duration

	// Fragment puts tiny+'s token into the fragment of the redirect, where RFC 6749
	// section 4.2.2 has it. Default: the query, as tiny+'s page says.
	Fragment bool
	// Application is the type of the application at Accelo. Default:
	// [ApplicationInstalled].
	Application string
	// Deployments are Accelo's customers. Default: one, acme.
	Deployments []string
	// LockOut is Accelo's.
	LockOut LockOut
}

// Provider is a [Server] that is like one real provider, and as strict as that
// provider's pages are: it refuses what they do not allow. On top of the token
// endpoint and the API it has the authorize endpoint, with a page to log in on
// and a page to consent on, and the revocation endpoint where there is one.
type Provider struct {
	*Server
	name string
}

// profiles make the emulations of the providers that do what no field of their preset describes:
// each fills in what is zero in the configuration, and says how the provider differs. All other
// presets are emulated from their data.
var profiles = map[string]func(*ProviderConfig) *emulation{
	TinyPlus:    tinyPlus,
	TinyEmail:   tinyEmail,
	Accelo:      accelo,
	Biggerplate: biggerplate,
	Tiltify:     tiltify,
	TiltifyV3:   tiltifyV3,
}

// Providers returns the names of all providers that can be emulated: every preset.
func Providers() []string { return provider.Names() }

// ListenProvider starts the provider of that name. The caller closes it.
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

// StartProvider is [ListenProvider] for a test: it panics where that returns an
// error, and the provider is closed when the test ends.
func StartProvider(t T, name string, cfg ProviderConfig) *Provider {
	t.Helper()
	p, err := ListenProvider(name, cfg)
	if err != nil {
		panic("tokensourcetest: " + err.Error())
	}
	t.Cleanup(p.Close)
	return p
}

// listenFurther takes a port for each deployment after the first.
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

// client fills in the one client where there is none, and how all of them may
// authenticate.
func (c *ProviderConfig) client(id string, auth []AuthMethod, formats ...BodyFormat) {
	if len(c.Clients) == 0 {
		c.Clients = []Client{{ID: id, Secrets: []string{DefaultClientSecret}}}
	}
	for i := range c.Clients {
		c.Clients[i].Auth, c.Clients[i].Formats = auth, formats
	}
}
