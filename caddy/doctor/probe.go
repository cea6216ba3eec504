package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/internal/challenge"
	"github.com/authinject/caddy-authinject/tokensource"
)

// probeTimeout limits the request to the upstream.
const probeTimeout = 20 * time.Second

// probe requests a URL of the upstream with the token. The request goes through an
// [authinject.Transport], as in the proxy. It checks the destination. TLS settings and proxy are
// those of the route to the upstream. If no route has the upstream, the TLS settings are the
// system's, and there is no proxy.
func (x *exam) probe(ctx context.Context, account *tokensource.Account) {
	if x.Probe == "" {
		return
	}
	u, err := url.Parse(x.Probe)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		x.fail("upstream", "--probe is not an http or https URL", "give the URL of a resource that the API allows to read")
		return
	}
	target := authinject.Target{Scheme: u.Scheme, Host: u.Hostname(), Port: u.Port()}
	err = x.Destinations.Check(target)
	if refused, ok := errors.AsType[*authinject.DestinationError](err); ok && refused.Insecure {
		x.fail("upstream", fmt.Sprintf("%s was not requested: %s", origin(target), refused.Reason),
			"probe the https URL. Only if the network is trusted, add "+origin(target)+" to destinations")
		return
	}
	if err != nil {
		x.fail("upstream", fmt.Sprintf("%s was not requested: the token may not be sent there; the "+
			"destinations of the source are %s",
			origin(target), x.Destinations), "probe a URL of a destination, or add the host to destinations")
		return
	}
	if account == nil {
		x.skip("upstream", origin(target)+" was not requested: there is no token")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.Probe, http.NoBody)
	if err != nil {
		x.fail("upstream", "--probe is not a URL that can be requested", "correct it")
		return
	}
	req.Header.Set("User-Agent", "authinject")
	base := &http.Transport{
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, ForceAttemptHTTP2: true, DisableKeepAlives: true,
	}
	for _, u := range x.Upstreams {
		if u.TLS != nil && origin(u.Target) == origin(target) {
			base.TLSClientConfig, base.Proxy = u.TLS.Clone(), u.Proxy
			break
		}
	}
	var result authinject.Result
	transport := &authinject.Transport{
		OnResult: func(r authinject.Result) { result = r },
		Base:     base, SourceName: x.Config.Name, Injection: x.Injection, Destinations: x.Destinations,
		Source: func(*http.Request) (authinject.TokenSource, error) { return account, nil },
		// doctor reports the answer itself, so a rejected token must not lead to a token request.
		RetryStatuses: []int{},
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		why, remedy := x.unreachable(origin(target), err)
		x.fail("upstream", fmt.Sprintf("%s could not be requested: %s", origin(target), why), remedy)
		return
	}
	defer resp.Body.Close()
	if result.Class != "" { // the transport made the answer, not the upstream
		x.fail("upstream", result.Detail,
			"see the text; with dpop, compare the clocks and the address that the upstream sees")
		return
	}
	answer := fmt.Sprintf("%s answered %d to a request with the token", origin(target), resp.StatusCode)
	skewed, clocks := x.skewOf(resp)
	st := account.Status()
	st.Refused = true
	refusal := st.Refusal() // of a token that the upstream refused; nil if a new token can be requested
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized && refusal != nil:
		x.fail("upstream", answer+": "+refusal.What()+complaint(resp)+skewed, clocks+refusal.Remedy())
	case status == http.StatusUnauthorized:
		x.fail("upstream", answer+": it rejected the token"+complaint(resp)+skewed,
			clocks+"check that the token is for this API (resource or token_param audience, scopes), and how it is sent (inject)")
	case result.InsufficientScope:
		lacking := account.InsufficientScope(result.NeededScope)
		x.fail("upstream", answer+": "+lacking.What(), lacking.Remedy())
	case status == http.StatusForbidden:
		x.fail("upstream", answer+": it knows the token, but does not allow this request",
			"check scopes, and the rights of the account at the API")
	case status >= 300 && status < 400:
		x.warn("upstream", answer+", a redirect, which was not followed",
			"probe the URL that the redirect leads to, if it is a destination")
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		x.warn("upstream", answer+", which says nothing about the token",
			"probe a URL that exists and can be read with GET")
	case status >= 500:
		x.warn("upstream", answer+": the upstream is in trouble", "wait, or look at the upstream's log")
	case status >= 400:
		x.warn("upstream", answer+", which is no complaint about the token", "probe a URL that needs no parameters")
	default:
		x.ok("upstream", answer)
	}
}

// unreachable returns why a request got no answer, and what to do. It does not use the error's text,
// which may contain the URL.
func (x *exam) unreachable(upstream string, err error) (why, remedy string) {
	if failure := tokensource.UpstreamFailure(x.Config.Name, upstream, err); failure != nil {
		return failure.What(), failure.Remedy()
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return "it did not answer in time", "check whether the upstream works. A proxy or a firewall may drop the packets"
	}
	return "the connection broke before an answer", "check whether the upstream works, and whether it speaks TLS at this port"
}

// complaint returns what the upstream says about a token in its answer (RFC 6750 section 3), or an
// empty string.
func complaint(resp *http.Response) string {
	for _, c := range challenge.Parse(resp.Header[challenge.Field]) {
		said := slices.DeleteFunc([]string{c.Params["error"], c.Params["error_description"]},
			func(text string) bool { return text == "" })
		if len(said) > 0 {
			return fmt.Sprintf(" (the upstream says %q)", limit(printable(strings.Join(said, ": ")), 300))
		}
	}
	return ""
}

// skewOf says how far this machine's clock is from the upstream's, or from the provider's, which
// wrote the times of the token. It returns empty strings if they agree, or if no answer has a Date.
func (x *exam) skewOf(resp *http.Response) (text, remedy string) {
	whose, off := " the upstream's", time.Duration(0)
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		off = time.Since(date).Round(time.Second)
	}
	if date, arrived, _ := x.recorder.clock(); off.Abs() <= maxSkew && !date.IsZero() {
		whose, off = " the provider's", arrived.Sub(date).Round(time.Second)
	}
	if off.Abs() <= maxSkew {
		return "", ""
	}
	return ". This machine's clock is " + ahead(off) + whose,
		"correct the clock that is wrong: of this machine, of the upstream or of the provider. If that is not enough, "
}
