package tokensource

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/authinject/caddy-authinject/internal/host"
)

// endpoint is another endpoint of the provider, at which the client authenticates as at the token
// endpoint.
type endpoint struct {
	// name says in errors what the endpoint is, and option is the option for its URL.
	name, option string
	url          string
	// key proves the requests (RFC 9449). It is nil without DPoP.
	key *proofKey
}

// endpointAnswer is the response of an endpoint.
type endpointAnswer struct {
	status  int
	header  http.Header
	members map[string]json.RawMessage // nil if the body is no object
	code    string                     // the OAuth error code, or empty
	// assertion is the client assertion of the request, or empty.
	assertion string
}

// isSuccess reports whether the status is 2xx.
func (ans *endpointAnswer) isSuccess() bool { return ans.status >= 200 && ans.status < 300 }

// askEach sends a form to an endpoint of an account with these variables. Like a token request, it
// tries each of the client's secrets in turn while a secret is being rotated, and it sends nothing
// during a lock-out. read turns the answer into a failure.
func (w *wire) askEach(ctx context.Context, to endpoint, variables map[string]string, form url.Values,
	read func(*endpointAnswer) *Error) *Error {
	tokenURL, failed := w.tokenURL(ctx, variables) // lock-outs are known by it
	if failed == nil {
		failed = w.lockedOut(tokenURL)
	}
	if failed != nil {
		return failed
	}
	audience, issuer := w.audience(variables, tokenURL), w.issuerOr(variables, tokenURL)
	return w.eachSecret(ctx, func(secret Secret) *Error {
		ans, failed := w.ask(ctx, to, tokenURL, audience, form, secret)
		if failed == nil {
			if failed = read(ans); failed != nil {
				failed = w.clues(w.assertionFailure(failed, ans.assertion, ""), ans.header, issuer)
			}
			w.proofAnswered(failed, to.key, to.url, ans.header)
		}
		if failed == nil {
			return nil
		}
		failed.Endpoint = host.Origin(to.url)
		return failed.withFacts(w.facts(to.option))
	})
}

// ask sends one request to an endpoint. audience is who a client assertion is for.
func (w *wire) ask(ctx context.Context, to endpoint, tokenURL, audience string, form url.Values,
	secret Secret) (*endpointAnswer, *Error) {
	ctx, cancel := w.cfg.Clock.limit(ctx, w.cfg.Timeout)
	defer cancel()
	assertion, err := w.clientAssertion(ctx, audience, secret)
	if err != nil {
		return nil, &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
	}
	call, req, failed := w.clientRequest(ctx, to.url, form, assertion, secret)
	if failed != nil {
		failed.Reason = strings.ReplaceAll(failed.Reason, "token_url", to.option)
		return nil, failed
	}
	if failed := w.prove(req.Header, to.key, to.url); failed != nil {
		return nil, failed
	}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		failure := transportFailure(err, true)
		failure.Reason = strings.ReplaceAll(failure.Reason, "token endpoint", to.name)
		return nil, failure
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // a body that is cut short has no members
	members, _ := parseMembers(body)
	if failure := call.lockOut(resp, members); failure != nil {
		w.leaveAlone(tokenURL, failure)
		return nil, failure
	}
	return &endpointAnswer{status: resp.StatusCode, header: resp.Header, members: members, code: call.errorCode(members),
		assertion: assertion.Get("client_assertion")}, nil
}
