package tokensource

import (
	"cmp"
	"maps"
	"net/http"
	"strings"
	"time"
)

// facts are the known facts about the source of an error, by name. They contain no secret.
type facts map[string]string

// known are the facts of an error; behind a pointer, so that no verb prints them.
type known struct{ facts facts }

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

// usualFacts are used for facts that an error does not have.
var usualFacts = facts{
	"url": "token_url", "again": connectAgain, "proof": "client_secret", "token": "the option token",
	"rescope":      "until the next refresh (caddy authinject refresh) or, for a login, until the account is connected again",
	"account_from": "see that something in front of the proxy sets the placeholder of the option account for this request",
	"retries":      "the source asks again by itself", "key_known": "that the provider has the public key with this kid",
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

const (
	// leastSkew is the smallest clock difference that can explain why a provider refuses a JWT, or why
	// a token has already expired when it is issued.
	leastSkew = time.Minute
	// leastProofSkew is the smallest one that can explain why a DPoP proof is refused: servers accept proofs that are only a few seconds off.
	leastProofSkew = 5 * time.Second
)

// skew returns how far the local clock is from the server's clock, by the header of the server's response.
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
	return found
}

// clues adds the facts in the header of the provider's response to the failure: the difference of the clocks,
// and whether the provider asks for HTTP Basic although the client sends its secret in another way.
func (w *wire) clues(failure *Error, header http.Header) *Error {
	found := skew(w.cfg.Clock.Now(), header)
	if w.cfg.ClientAuth != ClientSecretPost && w.cfg.ClientAuth != ClientSecretQuery {
		return failure.know(found)
	}
	for _, challenge := range header.Values("WWW-Authenticate") {
		if scheme, _, _ := strings.Cut(challenge, " "); strings.EqualFold(scheme, "Basic") {
			return failure.know(found).know(facts{"basic": string(ClientSecretBasic)})
		}
	}
	return failure.know(found)
}
