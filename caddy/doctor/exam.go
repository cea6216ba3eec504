package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/caddy/discover"
	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// Patient is a token source to examine.
type Patient struct {
	// Config is the source's configuration, without Observer.
	Config tokensource.Config
	// TLS and Proxy are the settings of Config.Transport. Nil: those of the system.
	TLS   *tls.Config
	Proxy func(*http.Request) (*url.URL, error)
	// GrantName is the name of the grant.
	GrantName string
	// Account is the name of the account, or empty for the unnamed one.
	Account string
	// Secrets are the options that hold secrets.
	Secrets []Secret
	// Injection and Destinations are how and where requests carry the token.
	Injection    authinject.Injection
	Destinations authinject.Destinations
	// Configured are the destinations as the configuration has them. Nil: it has none, and the
	// upstreams of the routes are the destinations.
	Configured []string
	// Preset is the name of the provider preset that has the destinations. Empty: the configuration
	// has them.
	Preset string
	// Upstreams are the upstreams of the routes that use the source.
	Upstreams []Upstream
	// Variables are the account's values of Config.Variables. Nil: they are not known.
	Variables map[string]string
	// PerAccount says that each request chooses its account.
	PerAccount bool
	// Running is the running server's state of the account.
	Running Running
	// ConnectURL is where a person connects the account, or empty.
	ConnectURL string
	// StorageDir is the directory of Config.Storage, or empty if the storage is not a directory.
	StorageDir string
	// OwnStorage says that the source has the option storage. Otherwise it uses Caddy's storage.
	OwnStorage bool
	// Users tells who owns that directory. If Foreign is not nil, doctor only reads it.
	Users   Users
	Foreign *Foreign
	// Others are the source's other accounts. Nil: they are not examined.
	Others []Other
}

// Other is an account that is not the examined one.
type Other struct {
	Account string
	// Wanted says that a request asked for the account, which was never connected.
	Wanted bool
	// Words describe the account; they are empty if it is fine. Remedy says what to do. If it is
	// empty, a person must connect the account.
	Words, Remedy string
}

// Options are what the operator asked for.
type Options struct {
	// TryAuth tries the other ways of client authentication.
	TryAuth bool
	// Refresh requests a new token even if there is a live one.
	Refresh bool
	// Probe is a URL of the upstream to request with the token.
	Probe string
	// Subject reads the token of a caller, for sources that exchange it. Optional.
	Subject tokensource.Value
}

// exam is one examination.
type exam struct {
	Patient
	Options
	report   *Report
	recorder *recorder
	server   *discover.Server // the issuer's metadata, if it was read
	// tokenURL and issuer have the account's variables filled in. Config keeps the templates:
	// storage keys depend on them.
	tokenURL, issuer string
	// mayStart says that the endpoint may start later than the server. Then doctor only warns if it
	// is down.
	mayStart bool
	// timed says that a step failed because of the time.
	timed bool
	// tokenEnd is the claim exp of the configured token, or zero.
	tokenEnd time.Time
	// noLogin says that a login would fail because of a step that failed.
	noLogin bool
	// expired says that the configured token is a JWT that has expired.
	expired bool
	// trust says how to trust a CA; empty: as for the provider.
	trust string
}

func (x *exam) add(status Status, name, text, remedy string) {
	x.report.Add(Step{Source: x.Config.Name, Name: name, Status: status, Text: text, Remedy: remedy})
}

func (x *exam) ok(name, text string)           { x.add(OK, name, text, "") }
func (x *exam) skip(name, text string)         { x.add(Skip, name, text, "") }
func (x *exam) warn(name, text, remedy string) { x.add(Warn, name, text, remedy) }
func (x *exam) fail(name, text, remedy string) { x.add(Fail, name, text, remedy) }

// down reports an endpoint that may work later, without a change of the configuration.
func (x *exam) down(name, text, remedy string) {
	if x.mayStart {
		x.warn(name, text, remedy)
		return
	}
	x.fail(name, text, remedy)
}

// change suggests a change in the source's block: replace old by the option with args. Empty args
// only remove old.
func (x *exam) change(option, old, args string) {
	c := Change{In: "source " + x.Config.Name, Remove: old}
	if args != "" {
		c.Add = option + " " + args
	}
	x.report.Change(c)
}

// closeTimeout limits the wait for a refresh under way, which must end and be stored.
const closeTimeout = 30 * time.Second

// Examine gets a token of the patient and adds to the report what it finds.
func Examine(ctx context.Context, p Patient, o Options, report *Report) {
	if p.Foreign != nil && p.Config.Storage != nil {
		p.Config.Storage = readOnly{p.Config.Storage}
	}
	x := &exam{Patient: p, Options: o, report: report, recorder: newRecorder(p.Config.Transport)}
	x.TLS = cmp.Or(x.TLS, new(tls.Config))
	if x.Proxy == nil {
		x.Proxy = http.ProxyFromEnvironment
	}
	x.hideLiterals(ctx)
	secrets := x.secrets(ctx)
	storage := x.storage(ctx)
	reachable := x.provider(ctx)
	account := x.token(ctx, secrets, storage, reachable)
	x.runningServer()
	if account != nil {
		x.without()
	}
	x.others()
	x.clock()
	x.upstreams(ctx)
	x.probe(ctx, account)
}

// provider checks that the issuer and the token endpoint can be reached. It returns false if a
// token request cannot succeed.
func (x *exam) provider(ctx context.Context) bool {
	cfg, traits := &x.Config, x.Config.Grant.Traits()
	if traits.Local {
		x.skip("tcp", "the token is in the configuration; no request to a provider is needed")
		return true
	}
	var err, issuerErr error
	x.tokenURL, err = provider.Expand(cfg.Variables, cfg.TokenURL, x.Variables)
	x.issuer, issuerErr = provider.Expand(cfg.Variables, cfg.Issuer, x.Variables)
	if err != nil || issuerErr != nil {
		x.tokenURL = ""
		x.skip("name", "the address of the provider depends on the account, which is not connected")
		return true
	}
	if x.issuer != "" && (!x.endpoint(ctx, "issuer", "issuer", x.issuer) || !x.metadata(ctx)) {
		return x.tokenURL != "" // with a configured token_url, the metadata is not needed
	}
	if x.tokenURL == "" && x.server != nil {
		x.tokenURL = x.server.TokenURL
		if alias := x.server.MutualTLS.TokenURL; x.Config.MutualTLS && alias != "" {
			x.tokenURL = alias
		}
	}
	if traits.NoTokenURL {
		return true
	}
	if x.tokenURL == "" {
		x.fail("metadata", "the issuer's metadata names no token_endpoint", "configure token_url")
		x.change("token_url", "", "https://…")
		return false
	}
	if x.issuer != "" && host.Origin(x.tokenURL) == host.Origin(x.issuer) {
		return true // it was checked as the issuer
	}
	return x.endpoint(ctx, "token endpoint", "token_url", x.tokenURL)
}

// metadata reads the issuer's metadata.
func (x *exam) metadata(ctx context.Context) bool {
	found, err := (&discover.Client{Transport: x.recorder}).Server(ctx, x.issuer)
	if err != nil {
		x.fail("metadata", "the metadata of the issuer cannot be used: "+err.Error(),
			"correct issuer; it is the value that the provider's metadata has as \"issuer\"; or configure "+
				"token_url instead")
		return false
	}
	x.server = found
	x.ok("metadata", "the issuer's metadata is at "+found.From)
	return true
}

// A clock that is off by more than maxSkew gets a warning. A clock that is off by badSkew or more
// is a failure if the source signs JWTs, because providers usually accept those that are up to five
// minutes off, or if a step failed because of the time.
const (
	maxSkew = 30 * time.Second
	badSkew = 5 * time.Minute
)

// clock compares this machine's clock with the provider's.
func (x *exam) clock() {
	date, arrived, answers := x.recorder.clock()
	switch {
	case answers == 0:
		x.skip("clock", "the provider answered no request, so there is no Date to compare with")
		return
	case date.IsZero():
		x.skip("clock", "no answer of the provider had a Date to compare with")
		return
	}
	skew := arrived.Sub(date).Round(time.Second)
	const remedy = "synchronize the clock of this machine (timedatectl set-ntp true, or chronyd); if it is " +
		"right, the provider's is wrong"
	text := "the clock of this machine is " + ahead(skew) + " the provider's"
	switch {
	case skew.Abs() >= badSkew && (x.timed || x.signs()):
		x.fail("clock", text+"; tokens may seem expired, or not yet valid", remedy)
	case skew.Abs() > maxSkew:
		x.warn("clock", text, remedy)
	default:
		x.ok("clock", "the clock of this machine agrees with the provider's")
	}
}

// ahead says how far a clock is ahead of another one, or behind it.
func ahead(off time.Duration) string {
	if off < 0 {
		return off.Abs().String() + " behind"
	}
	return off.String() + " ahead of"
}

// signs reports whether the source signs JWTs, in which this machine writes the time.
func (x *exam) signs() bool {
	cfg := &x.Config
	return cfg.DPoP != "" || x.Config.AuthMethod().IsJWT() && cfg.ClientAssertion == nil ||
		slices.Contains([]string{"jwt_bearer", "github_app"}, x.GrantName)
}
