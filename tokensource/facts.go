package tokensource

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/internal/challenge"
)

// facts are the known facts about the source of an error, by name. They contain no secret.
type facts map[string]string

// known holds the facts of an error. An [Error] has only a pointer to it, so that no verb of
// package fmt prints the facts.
type known struct{ facts facts }

// facts returns the facts of e.
func (e *Error) facts() facts {
	if e.known == nil {
		return nil
	}
	return e.known.facts
}

// withFacts adds facts to e. It does not change a fact that e already has.
func (e *Error) withFacts(more facts) *Error {
	all := make(facts)
	maps.Copy(all, e.facts())
	for name, value := range more {
		all[name] = cmp.Or(all[name], value)
	}
	e.known = &known{all}
	return e
}

// usualFacts are used for facts that an error does not have.
var usualFacts = facts{
	"url": "token_url", "again": connectAgain, "proof": "client_secret", "token": "the option token", "variable": "the variable",
	"rescope":        "until the next refresh (caddy authinject refresh) or, for a login, until the account is connected again",
	"account_from":   "make sure that a handler in front of the proxy sets the placeholder of the option account for this request",
	"compare_clocks": "compare this machine's clock with the provider's. If the provider's clock is wrong, tell the provider",
	"then_login":     "connect the account",
	"retries":        "The source asks again by itself",
	"value_cure": "check the variable or file that the placeholder names, and that this process may read it. Start the " +
		"server again after a change of its environment",
	"write_cure": "make the storage writable for this process, and check that it is not full",
	"scope_cure": "add the scope to the option scopes, and allow it for this client at the provider. The token in use keeps " +
		"its scopes until the next refresh (caddy authinject refresh) or, for a login, until the account is connected again. " +
		"If scopes has it already, check the rights of the account at the API",
	"assertion_options": "key, issuer or app_id, subject and audience",
	"key_known":         "that the provider has the public half of the key, with the same kid if you set one",
}

// connectAgain says what a person must do when a login has ended.
const connectAgain = "connect the account again"

// again says how a source whose login has ended gets a new one.
func (cfg *Config) again() string {
	if _, interactive := cfg.Grant.(Interactive); interactive {
		return connectAgain
	}
	return "get a new refresh token from the provider, and write it into " + cfg.tokenIn()
}

// tokenIn says where an operator writes the configured token or refresh token.
func (cfg *Config) tokenIn() string {
	switch {
	case cfg.TokenIn != "":
		return cfg.TokenIn
	case cfg.Grant.Traits().Stored:
		return "the option refresh_token"
	}
	return usualFacts["token"]
}

// facts returns the facts that the configuration adds to every failure of its source.
func (cfg *Config) facts() facts {
	f := facts{"again": cfg.again(), "then_login": cfg.again(), "token": cfg.tokenIn(), "scopes": strings.Join(cfg.Scopes, " "),
		"rescope": "until the next refresh: caddy authinject refresh " + cfg.Name}
	if _, interactive := cfg.Grant.(Interactive); interactive {
		f["rescope"], f["then_login"] = "until the account is connected again", usualFacts["then_login"]
		f["connects"] = "the page of authinject_connect"
	}
	if _, exchanges := cfg.Grant.(Exchanger); exchanges {
		f["retries"], f["exchanges"] = "The next request of a caller asks again", "true"
	} else if f["connects"] == "" {
		f["no_login"] = "true"
	}
	return f
}

// facts returns the configuration's facts for a request. urlOption is the option that sets the
// request's URL.
func (w *wire) facts(urlOption string) facts {
	f := w.cfg.facts()
	maps.Copy(f, facts{
		"client_auth": string(w.cfg.ClientAuth), "body_format": string(w.cfg.BodyFormat),
		"clock": shownClock(w.cfg.Clock.Now()),
		"compare_clocks": "compare this machine's clock (now " + shownClock(w.cfg.Clock.Now()) + ") with the provider's. If the " +
			"provider's clock is wrong, tell the provider",
		"timeout": w.cfg.Timeout.String(), "url": urlOption,
	})
	if w.cfg.ClientAuth == ClientSecretJWT {
		f["key_known"] = "client_secret"
	}
	if w.cfg.ClientAuth.IsTLS() {
		f["proof"] = "the client certificate of token_transport"
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

const (
	// leastSkew is the smallest clock difference that can explain why a provider refuses a JWT, or
	// why a token has already expired when it is issued.
	leastSkew = time.Minute
	// leastProofSkew is the smallest clock difference that can explain why a DPoP proof is refused.
	// It is shorter, because servers accept proofs only if they are at most a few seconds off.
	leastProofSkew = 5 * time.Second
)

// skew returns how far the local clock is from the server's clock, by the header of the server's
// response.
func skew(now time.Time, header http.Header) facts {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return nil
	}
	off := now.Sub(date).Round(time.Second)
	text := off.Abs().String() + " ahead of"
	if off < 0 {
		text = off.Abs().String() + " behind"
	}
	found := make(facts)
	if off.Abs() >= leastProofSkew {
		found["proof_skew"] = text
	}
	if off.Abs() >= leastSkew {
		found["skew"] = text
	}
	found["compare_clocks"] = "tell the provider that the clock of one of its servers is wrong, or that it answers with a " +
		"token that has ended. This machine's clock is not the reason, because the token's times are compared with the Date " +
		"of the same answer"
	return found
}

// noteSkew remembers the clock difference that the header of an answer shows. A header without a
// Date changes nothing.
func (w *wire) noteSkew(header http.Header) {
	found := skew(w.cfg.Clock.Now(), header)
	if off := found["skew"]; off != "" {
		w.skew.Store(&off)
	} else if found != nil {
		w.skew.Store(nil)
	}
}

// clues adds facts to the failure. The header of the response shows the clock difference, and
// whether the provider asks for HTTP Basic although the client sends its secret in another way. The
// issuer's metadata, if it was fetched, lists the methods of client authentication.
func (w *wire) clues(failure *Error, header http.Header, issuer string) *Error {
	found := skew(w.cfg.Clock.Now(), header)
	failure = failure.withFacts(found)
	wanted := ""
	if metadata, _ := w.discoveredLast(issuer); metadata.metadata != nil {
		_, wanted = w.cfg.OtherAuth(metadata.metadata.authMethods)
	}
	if w.asksForBasic(header) {
		failure = failure.withFacts(facts{"basic": string(ClientSecretBasic)})
		wanted = cmp.Or(wanted, "try client_auth "+string(ClientSecretBasic)+", because the answer asks for HTTP Basic")
	}
	return failure.withFacts(facts{"wanted_auth": wanted, "client_causes": w.clientCauses(wanted != ""),
		"other_auth": string(w.otherAuth())})
}

// asksForBasic reports whether a response asks for HTTP Basic, and the client sends its secret in
// another way.
func (w *wire) asksForBasic(header http.Header) bool {
	if w.cfg.ClientAuth != ClientSecretPost && w.cfg.ClientAuth != ClientSecretQuery {
		return false
	}
	return slices.ContainsFunc(challenge.Parse(header[challenge.Field]), func(one challenge.Challenge) bool {
		return one.Is("Basic")
	})
}

// clientCauses says why a provider can refuse a client that uses a secret or none, and what to do in
// each case. It returns an empty string for other clients. wanted is true if the response or the
// metadata says how the provider wants the secret.
func (w *wire) clientCauses(wanted bool) string {
	switch {
	case w.cfg.ClientAuth == ClientAuthNone && !wanted:
		return "The source sends no client_secret: if the provider gave you one, write it into the option client_secret"
	case !w.cfg.ClientAuth.UsesSecret():
		return ""
	}
	corrected := "If the client_secret is wrong, write the right one into " +
		cmp.Or(w.cfg.ClientSecretIn, "the option client_secret")
	if wanted {
		return corrected
	}
	return corrected + ". If the secret is right, try client_auth " + string(w.otherAuth())
}

// otherAuth returns the method of client authentication to try next, or "" for a client that uses no
// secret.
func (w *wire) otherAuth() ClientAuth {
	switch {
	case !w.cfg.ClientAuth.UsesSecret():
		return ""
	case w.cfg.ClientAuth == ClientSecretBasic:
		return ClientSecretPost
	}
	return ClientSecretBasic
}
