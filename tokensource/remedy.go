package tokensource

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Remedy describes one kind of failure for people. Every place that shows errors takes the
// words from [Remedies]: the log, problem bodies, the admin API, metrics, the commands, and
// docs/troubleshooting.md, whose headings are the texts.
type Remedy struct {
	// Problem names the kind in one word, for programs. It does not change.
	Problem string
	// Text is a part of the error's text, word for word. Nothing in it varies, except the status.
	Text string
	// Also are other texts of errors of this kind. Each is a part of the heading, too.
	Also []string
	// Class is the usual class of such an error.
	Class Class
	// Cause explains the failure.
	Cause string
	// Do says what to do. {name} stands for a fact about the source; a part in brackets is left out
	// if a fact in it is not known.
	Do string
	// More is what else the documentation says.
	More string

	// quiet: the error's text does not end with Do, because no one has to act, or another text says how.
	quiet bool
	// match reports whether the row is for e. Nil means that Text or one of Also is in the error's reason.
	match func(e *Error) bool
}

func (r *Remedy) matches(e *Error) bool {
	if r.match != nil {
		return r.match(e)
	}
	return strings.Contains(e.Reason, r.Text) || containsAny(e.Reason, r.Also)
}

// facts are the known facts about the source of an error, by name. They contain no secret.
type facts map[string]string

// known are the facts of an error; behind a pointer, so that no verb prints them.
type known struct{ facts facts }

// Remedies returns the remedies for all kinds of failure, in the order of the documentation.
func Remedies() []Remedy { return slices.Clone(remedies) }

// remedy returns the first remedy that matches e, or nil.
func (e *Error) remedy() *Remedy {
	e = e.root()
	for i := range remedies {
		if r := &remedies[i]; r.matches(e) {
			return r
		}
	}
	return nil
}

// Problem returns the kind of failure in one word, for programs; empty if it is none of [Remedies].
func (e *Error) Problem() string {
	if r := e.remedy(); r != nil {
		return r.Problem
	}
	return ""
}

// Remedy returns what a person can do about the failure, with the values of the source's
// configuration. It is empty if nothing more is known than the reason.
func (e *Error) Remedy() string {
	r := e.remedy()
	if r == nil {
		return ""
	}
	e = e.root()
	return fill(r.Do, func(name string) string {
		switch name {
		case "source":
			return e.Source
		case "account":
			return e.Account
		case "until":
			if e.RetryAt.IsZero() {
				return ""
			}
			return shownClock(e.RetryAt)
		case "host":
			_, host, _ := strings.Cut(e.Endpoint, "://")
			return host
		}
		value := ""
		if e.known != nil {
			value = e.known.facts[name]
		}
		if name == "not_directory" && errors.Is(e.cause, syscall.ENOTDIR) {
			return "a part of its path is a file, not a directory"
		}
		return cmp.Or(value, usualFacts[name])
	})
}

// usualFacts are used for facts that an error does not have.
var usualFacts = facts{
	"url": "token_url", "again": connectAgain, "proof": "client_secret", "token": "the option token",
	"rescope":      "until the next refresh (caddy authinject refresh) or, for a login, until the account is connected again",
	"account_from": "see that something in front of the proxy sets the placeholder of the option account for this request",
	"retries":      "the source asks again by itself", "key_known": "that the provider has the public key with this kid",
}

// What returns what happened, with the status and the error code, and without the source and the
// remedy.
func (e *Error) What() string {
	var b strings.Builder
	b.WriteString(e.Reason)
	between, code := ", status ", ", error "
	if strings.HasSuffix(e.Reason, answeredSuffix) {
		between, code = " ", " "
		if e.Status == 0 && e.Code == "" {
			b.WriteString(" with an error")
		}
	}
	if e.Status != 0 {
		b.WriteString(between + strconv.Itoa(e.Status))
	}
	if e.Code != "" {
		b.WriteString(code + e.Code)
	}
	if e.LastLogin != nil {
		b.WriteString("; the last login failed: " + e.LastLogin.What())
	}
	return b.String()
}

const (
	// answeredReason is the reason of a token endpoint's refusal. The status and the error code follow it.
	answeredReason = "the token endpoint" + answeredSuffix
	answeredSuffix = " answered"
)

// fill replaces {name} in text by its value. A part in brackets is left out if a value in it is empty.
func fill(text string, value func(name string) string) string {
	var b strings.Builder
	for text != "" {
		at := strings.IndexAny(text, "[{")
		if at < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:at])
		if text[at] == '{' {
			name, rest, _ := strings.Cut(text[at+1:], "}")
			b.WriteString(value(name))
			text = rest
			continue
		}
		part, rest, _ := strings.Cut(text[at+1:], "]")
		complete := true
		part = fill(part, func(name string) string {
			v := value(name)
			complete = complete && v != ""
			return v
		})
		if complete {
			b.WriteString(part)
		}
		text = rest
	}
	return b.String()
}

// What a person does about a login that has ended, and what an operator does if no person can log in.
const (
	connectAgain   = "connect the account again"
	configureAgain = "configure another refresh_token"
)

// again says how a source whose login has ended gets a new one.
func (cfg *Config) again() string {
	if _, interactive := cfg.Grant.(Interactive); interactive {
		return connectAgain
	}
	return configureAgain
}

// facts are what a configuration says about every failure of its source.
func (cfg *Config) facts() facts {
	f := facts{"again": cfg.again(), "token": cfg.TokenIn}
	f["rescope"] = "until the next refresh: caddy authinject refresh " + cfg.Name
	if _, interactive := cfg.Grant.(Interactive); interactive {
		f["rescope"] = "until the account is connected again"
	}
	if _, exchanges := cfg.Grant.(Exchanger); exchanges {
		f["retries"] = "the next request of a caller asks again"
	}
	return f
}

// facts returns the configuration's facts for a request. urlOption is the option that sets the request's URL.
func (w *wire) facts(urlOption string) facts {
	f := w.cfg.facts()
	maps.Copy(f, facts{
		"client_auth": string(w.cfg.ClientAuth), "body_format": string(w.cfg.BodyFormat),
		"scopes": strings.Join(w.cfg.Scopes, " "), "clock": shownClock(w.cfg.Clock.Now()),
		"timeout": w.cfg.Timeout.String(), "url": urlOption,
	})
	if w.cfg.ClientAuth == ClientSecretJWT {
		f["key_known"] = "client_secret"
	}
	if w.cfg.ClientAuth.IsTLS() {
		f["proof"] = "the client certificate of token_transport"
	}
	if w.cfg.ClientAuth.UsesSecret() {
		f["secret_in"] = w.cfg.ClientSecretIn
	}
	var names []string
	for _, v := range w.cfg.Variables {
		names = append(names, v.Name)
	}
	if names != nil {
		f["url"] += " and the variable " + strings.Join(names, ", ")
	}
	return f
}

// tokenURLOption is the option that the token URL comes from.
func (w *wire) tokenURLOption() string {
	if w.cfg.TokenURL == "" {
		return "issuer"
	}
	return "token_url"
}

// know adds facts to e. It does not change a fact that e already has.
func (e *Error) know(more facts) *Error {
	all := make(facts)
	if e.known != nil {
		maps.Copy(all, e.known.facts)
	}
	for name, value := range more {
		all[name] = cmp.Or(all[name], value)
	}
	e.known = &known{all}
	return e
}

// certificateFailure tells the failures of a certificate apart. ca names the authority that issued it.
func certificateFailure(err error) (reason, ca string) {
	var verify *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, new(x509.HostnameError)):
		return "the token endpoint's certificate is for another host", ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the token endpoint's certificate has expired or is not valid yet", ""
	}
	if errors.As(err, &verify) && len(verify.UnverifiedCertificates) > 0 {
		issuer := verify.UnverifiedCertificates[len(verify.UnverifiedCertificates)-1].Issuer
		ca = issuer.CommonName
		if ca == "" && len(issuer.Organization) > 0 {
			ca = issuer.Organization[0]
		}
	}
	return "the token endpoint's certificate is not trusted", shownName(ca)
}

// shownName returns the name of an authority in a certificate, quoted, if it can be shown: the other
// end chose it.
func shownName(name string) string {
	if name == "" || len(name) > 80 || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return strconv.Quote(name)
}

func byCode(codes ...string) func(*Error) bool {
	return func(e *Error) bool { return slices.Contains(codes, e.Code) }
}

func byReason(parts ...string) func(*Error) bool {
	return func(e *Error) bool { return containsAny(e.Reason, parts) }
}

func containsAny(text string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// and returns a match for an error that all of matches match.
func and(matches ...func(*Error) bool) func(*Error) bool {
	return func(e *Error) bool {
		return !slices.ContainsFunc(matches, func(match func(*Error) bool) bool { return !match(e) })
	}
}

// noError is the match of a row for errors of another type than [*Error]: package authinject looks it up by
// its problem.
func noError(*Error) bool { return false }

func ofClass(class Class) func(*Error) bool {
	return func(e *Error) bool { return e.Class == class }
}

// mute returns a match for an endpoint that answered one of the statuses without an error code.
func mute(statuses ...int) func(*Error) bool {
	return func(e *Error) bool {
		return e.Code == "" && strings.HasSuffix(e.Reason, answeredSuffix) && slices.Contains(statuses, e.Status)
	}
}

// statusFrom returns a match for an endpoint that answered with status least or a higher one.
func statusFrom(least int) func(*Error) bool {
	return func(e *Error) bool { return strings.HasSuffix(e.Reason, answeredSuffix) && e.Status >= least }
}

// askProvider says where an operator reads the provider's own words.
const askProvider = "; GET /authinject/sources/{source}?details=1 of the admin API shows what the provider says of it"
