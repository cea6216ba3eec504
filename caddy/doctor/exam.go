package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/caddy/discover"
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
	// StorageDir is the directory of Config.Storage, or empty if the storage is none.
	StorageDir string
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

// Secret is an option that holds a secret.
type Secret struct {
	Option string
	// From is the placeholder, such as {env.NAME}, or a description of where the secret is. It
	// holds no secret.
	From string
	// Literal says that the secret is written in the configuration itself.
	Literal bool
	// Replaced says that a stored token replaces the secret, which may then be gone.
	Replaced bool
	Value    tokensource.Value
}

// Upstream is an upstream of a route.
type Upstream struct {
	Address string // as the configuration has it
	Target  authinject.Target
	// Meant is a destination that is written almost like Address, if there is one.
	Meant string
	// TLS and Proxy are the settings of the transport to the upstream. If TLS is nil, they are not
	// known, and the way to the upstream is not checked.
	TLS   *tls.Config
	Proxy func(*http.Request) (*url.URL, error)
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
	missing          []string // scopes that were not granted with a new token
	// mayStart says that the endpoint may start later than the server: that it is down is only a
	// warning.
	mayStart bool
	// timed says that a step failed because of the time.
	timed bool
	// trust says how to trust a CA; empty: as for the provider.
	trust string
}

func (x *exam) add(status Status, name, text, remedy string) {
	x.report.Add(Step{Source: x.Config.Name, Name: name, Status: status, Text: text, Remedy: remedy})
}

func (x *exam) ok(name, text string)           { x.add(OK, name, text, "") }
func (x *exam) skip(name, text string)         { x.add(Skip, name, text, "") }
func (x *exam) warn(name, text, remedy string) { x.add(Warn, name, text, remedy) }
func (x *exam) fail(name, text, remedy string) {
	x.add(Fail, name, text, remedy)
}

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
	if x.TLS == nil {
		x.TLS = new(tls.Config)
	}
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

// hideLiterals reads the secrets and hides their values in the report.
func (x *exam) hideLiterals(ctx context.Context) {
	for _, s := range x.Secrets {
		if value, err := s.Value(ctx); err == nil {
			x.report.Hide(value.Reveal())
			x.report.Hide(strings.TrimSpace(value.Reveal()))
		}
	}
}

// secrets checks that the secrets can be read.
func (x *exam) secrets(ctx context.Context) bool {
	readable := true
	for _, s := range x.Secrets {
		value, err := s.Value(ctx)
		switch {
		case err == nil && s.Literal:
			x.warn("secrets", s.Option+" stands in the configuration itself, where the admin API and logs can show it",
				"move it into an environment variable or a file, and write {env.NAME} or {file./path}")
			x.change(s.Option, s.Option+" …", "{env."+strings.ToUpper(s.Option)+"}")
		case err == nil:
			x.ok("secrets", s.Option+" can be read from "+s.From)
		case s.Replaced:
			x.warn("secrets", fmt.Sprintf("%s cannot be read: %s is %s; a stored refresh token does without "+
				"it", s.Option, s.From, whyUnreadable(s.From, err)),
				x.secretRemedy(s.From, err))
		default:
			readable = false
			x.fail("secrets", fmt.Sprintf("%s cannot be read: %s is %s", s.Option, s.From, whyUnreadable(s.From, err)),
				x.secretRemedy(s.From, err))
		}
		x.blanks(s, value.Reveal())
	}
	if err := x.Config.CheckCredentials(ctx); err != nil && readable {
		x.fail("secrets", err.Error(), x.credentialRemedy(err))
	}
	return readable
}

func whyUnreadable(configured string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "a file that does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "a file that this user must not read"
	case strings.HasPrefix(configured, "{env."):
		return "not set or empty"
	}
	return "empty or not readable"
}

// blanks reports blanks around a secret. They are sent with it, and are often there by mistake.
func (x *exam) blanks(s Secret, value string) {
	const white = " \t\r\n"
	trimmed := strings.Trim(value, white)
	if trimmed == "" || trimmed == value || s.Option == "key" || s.Option == "client_assertion" {
		return // of a key and of a JWT, only the text between blanks is used
	}
	begin, _, _ := strings.Cut(value, trimmed)
	end := value[len(begin)+len(trimmed):]
	var where []string
	if begin != "" {
		where = append(where, "begins with "+blank(begin[0]))
	}
	if end != "" {
		where = append(where, "ends in "+blank(end[len(end)-1]))
	}
	x.warn("secrets", s.Option+" "+strings.Join(where, " and ")+", which is sent as a part of it",
		"if it does not belong to the secret, remove it from "+s.From)
}

func blank(c byte) string {
	switch c {
	case ' ':
		return "a space"
	case '\t':
		return "a tab"
	}
	return "a line break"
}

// credentialRemedy says where to correct what an error of [tokensource.Config.CheckCredentials]
// names.
func (x *exam) credentialRemedy(err error) string {
	for _, s := range x.Secrets {
		if !strings.Contains(err.Error(), s.Option) || s.Literal {
			continue
		}
		if s.Option == "client_assertion" {
			return "renew the JWT in " + s.From + ": see that the program that writes it runs, and that it writes to that place"
		}
		return "correct the option that is named, or the value of " + s.Option + " in " + s.From
	}
	return "correct the option that is named"
}

// secretRemedy says how to give a placeholder a value. err says why it has none.
func (x *exam) secretRemedy(configured string, err error) string {
	isFile := strings.HasPrefix(configured, "{file.")
	switch {
	case !x.Running.Live:
	case errors.Is(err, fs.ErrNotExist):
		return "the running server still has a token, and its next token request will fail; restore the file"
	case isFile && !errors.Is(err, fs.ErrPermission):
		return "the running server still has a token, and its next token request will fail; write the secret into that file"
	default:
		return "the running server has a token, so only doctor lacks the value: run doctor as the user and with the " +
			"environment of the server"
	}
	if name, ok := strings.CutPrefix(configured, "{env."); ok {
		name = strings.TrimSuffix(name, "}")
		return fmt.Sprintf("set the environment variable %s where Caddy is started: export %s=… in the shell, "+
			"Environment= or EnvironmentFile= of its systemd unit, or env of its container", name, name)
	}
	if strings.HasPrefix(configured, "{file.") {
		return "write the secret into that file, and let the user that runs Caddy read it"
	}
	return "check the placeholder"
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
	if x.issuer != "" && sameOrigin(x.tokenURL, x.issuer) {
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
	direction := "ahead of"
	if skew < 0 {
		skew, direction = -skew, "behind"
	}
	const remedy = "synchronize the clock of this machine (timedatectl set-ntp true, or chronyd); if it is " +
		"right, the provider's is wrong"
	text := fmt.Sprintf("the clock of this machine is %s %s the provider's", skew, direction)
	switch {
	case skew >= badSkew && (x.timed || x.signs()):
		x.fail("clock", text+"; tokens may seem expired, or not yet valid", remedy)
	case skew > maxSkew:
		x.warn("clock", text, remedy)
	default:
		x.ok("clock", "the clock of this machine agrees with the provider's")
	}
}

// signs reports whether the source signs JWTs, in which this machine writes the time.
func (x *exam) signs() bool {
	cfg := &x.Config
	return cfg.DPoP != "" || x.auth().IsJWT() && cfg.ClientAssertion == nil ||
		slices.Contains([]string{"jwt_bearer", "github_app"}, x.GrantName)
}

// upstream checks that an upstream can be reached: its name, its port and its certificate. No
// request is sent over the connection. That the upstream is down is only a warning, because it may
// start later than the proxy. A wrong name or certificate is a failure: every request would fail.
func (x *exam) upstream(ctx context.Context, u Upstream) {
	if u.TLS == nil {
		return
	}
	way := *x
	way.TLS, way.Proxy, way.mayStart = u.TLS, u.Proxy, true
	way.trust = "write the line tls_trust_pool file /path/to/ca.pem into the block transport http of the directive authinject"
	if way.Proxy == nil {
		way.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	if u.Target.Network == "unix" {
		conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "unix", u.Target.Host)
		if err != nil {
			way.down("tcp", fmt.Sprintf("the upstream %s accepts no connections", u.Address),
				"check the path of the socket, that this user may write to it, and whether the server runs")
			return
		}
		_ = conn.Close() // nothing was sent
		return
	}
	way.endpoint(ctx, "upstream", "the upstream's address", u.Address)
}

// upstreams checks that the upstreams of the routes may get the token.
func (x *exam) upstreams(ctx context.Context) {
	told := make(map[string]bool) // several routes to one upstream may connect in different ways
	for _, u := range x.Upstreams {
		first := !told[u.Address]
		told[u.Address] = true
		err := x.Destinations.Check(u.Target)
		refused, isRefusal := errors.AsType[*authinject.DestinationError](err)
		switch {
		case err == nil:
			text := fmt.Sprintf("the upstream %s may get the token", u.Address)
			if x.Probe == "" {
				text += "; --probe <url> requests a URL of it"
			}
			if first {
				x.ok("destinations", text)
			}
			x.upstream(ctx, u)
		case !first: // it was reported
		case isRefusal && refused.Insecure:
			secure := u.Target
			secure.Scheme = "https"
			if secure.Port == "80" {
				secure.Port = "443"
			}
			x.fail("destinations", fmt.Sprintf("requests to the upstream %s are refused: it is plain http, "+
				"where others on the way can read the token", u.Address),
				"use https:// for the upstream; only if the network is trusted, add "+origin(u.Target)+" to destinations")
			x.report.Change(Change{In: "the site", Remove: "authinject … " + u.Address, Add: "authinject … " + origin(secure)})
		default:
			x.notAllowed(u)
		}
	}
}

// notAllowed reports an upstream that is not among the destinations. It proposes to change the
// upstream: that is more often wrong than the list, and a wrong host in the list would get the
// token.
func (x *exam) notAllowed(u Upstream) {
	text := fmt.Sprintf("requests to the upstream %s are refused: it is not among the destinations of the source (%s)",
		u.Address, x.Destinations)
	remedy := fmt.Sprintf("correct the upstream; only if %s is to get the token, write the line destinations %s into the source",
		u.Address, strings.Join(slices.Concat(x.Configured, []string{origin(u.Target)}), " "))
	if x.Preset != "" {
		text += ", which provider " + x.Preset + " sets"
		remedy += ", which replaces those of the provider"
	}
	x.fail("destinations", text, remedy)
	meant := u.Meant
	if only := x.Destinations.String(); meant == "" && !strings.ContainsAny(only, " *") {
		meant = only
	}
	if meant != "" {
		x.report.Change(Change{In: "the site", Remove: "authinject … " + u.Address, Add: "authinject … " + meant})
	}
}

func origin(t authinject.Target) string {
	if t.Network == "unix" {
		return "unix/" + t.Host
	}
	text := t.Scheme + "://" + t.Host
	if strings.Contains(t.Host, ":") {
		text = t.Scheme + "://[" + t.Host + "]"
	}
	if t.Port != "" && (t.Scheme != "https" || t.Port != "443") && (t.Scheme != "http" || t.Port != "80") {
		text += ":" + t.Port
	}
	return text
}
