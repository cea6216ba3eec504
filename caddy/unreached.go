package caddy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource"
)

// maxUnreached limits the upstreams of a source that are remembered: a request may decide the
// upstream.
const maxUnreached = 16

// unreached holds the upstreams of a source to which no connection could be made, or which answered
// nothing. It logs when that begins and when it ends, and not for each request.
type unreached struct {
	logger *zap.Logger
	source string
	// some is true while upstreams is not empty. Each request reads it.
	some atomic.Bool

	mu        sync.Mutex
	upstreams map[string]*unreachedUpstream // by address
	logged    recently
}

// unreachedUpstream is an upstream in [unreached].
type unreachedUpstream struct {
	at      time.Time
	failure *tokensource.Error
	logged  bool
}

// newUnreached returns one for each source.
func newUnreached(logger *zap.Logger, sources iter.Seq[string]) map[string]*unreached {
	all := make(map[string]*unreached)
	for source := range sources {
		all[source] = &unreached{logger: logger, source: source, upstreams: make(map[string]*unreachedUpstream)}
	}
	return all
}

// failed notes that an upstream did not answer, and logs it if that is news.
func (u *unreached) failed(address string, failure *tokensource.Error, now time.Time) {
	explained := failure.Explain()
	if !u.noteFailed(address, failure, explained.Problem, now) {
		return
	}
	log := u.logger.Warn
	if failure.Class == tokensource.ClassOperator {
		log = u.logger.Error
	}
	log("an upstream cannot be reached", zap.String("source", u.source), zap.String("upstream", address),
		zap.String("error", explained.Text), zap.String("class", string(failure.Class)),
		zap.String("problem", explained.Problem), zap.String("remedy", explained.Remedy))
}

// noteFailed is failed without the log. It reports whether to log the failure.
func (u *unreached) noteFailed(address string, failure *tokensource.Error, problem string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.upstreams[address]
	if known == nil {
		maps.DeleteFunc(u.upstreams, func(_ string, old *unreachedUpstream) bool { return now.Sub(old.at) >= showRefusal })
		if len(u.upstreams) >= maxUnreached {
			return false
		}
		known = new(unreachedUpstream)
		u.upstreams[address] = known
		u.some.Store(true)
	}
	begins := known.failure == nil || known.failure.Problem() != problem
	known.at, known.failure = now, failure
	if !begins || !u.logged.isNews(problem, address, now) {
		return false
	}
	known.logged = true
	return true
}

// answered notes that an upstream answered, and logs it if its failure was logged.
func (u *unreached) answered(address string) {
	u.mu.Lock()
	known := u.upstreams[address]
	delete(u.upstreams, address)
	u.some.Store(len(u.upstreams) > 0)
	u.mu.Unlock()
	if known != nil && known.logged {
		u.logger.Info("an upstream can be reached again", zap.String("source", u.source),
			zap.String("upstream", address))
	}
}

// problems returns the upstreams that did not answer their last request, unless that was long ago.
func (u *unreached) problems(now time.Time) (list []problemStatus) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, address := range slices.Sorted(maps.Keys(u.upstreams)) {
		known := u.upstreams[address]
		if now.Sub(known.at) >= showRefusal {
			continue
		}
		remedy := known.failure.Remedy()
		list = append(list, problemStatus{known.failure.Problem(), known.failure.Class,
			fmt.Sprintf("token source %q: the last request to the upstream %s failed: %s: %s", u.source, address,
				known.failure.What(), remedy),
			remedy})
	}
	return list
}

// watchedBase is the transport to the upstreams. It notes which of them can be reached.
type watchedBase struct {
	http.RoundTripper
	of *Transport
}

// RoundTrip implements [http.RoundTripper].
func (b watchedBase) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(req)
	if err == nil && !b.of.unreached.some.Load() || isHealthCheck(req) || req.Context().Err() != nil {
		return res, err
	}
	target, unknown := b.of.target(req)
	if unknown != nil {
		return res, err
	}
	address := host.WithoutDefaultPort(target.String())
	if err == nil {
		b.of.unreached.answered(address)
		return res, nil
	}
	failure := tokensource.UpstreamFailure(b.of.Source, address, err)
	if failure == nil || failure.Lost && req.Body != nil && req.Body != http.NoBody {
		return nil, err // the client's body may have ended, and not the upstream's answer
	}
	b.of.unreached.failed(address, failure, time.Now())
	return nil, &unreachedError{err, failure, ""}
}

// unreachedError is an error of connecting to an upstream. It does not unwrap to failure, which is no
// failure to get a token.
type unreachedError struct {
	error
	failure *tokensource.Error
	remedy  string // empty inside of package authinject, which removes parts of some texts
}

// Error implements error.
func (e *unreachedError) Error() string { return e.error.Error() + e.remedy }

// Unwrap lets reverse_proxy see that it may try another upstream.
func (e *unreachedError) Unwrap() error { return e.error }

// Timeout and Temporary keep the error a [net.Error], which decides the status of the answer.
func (e *unreachedError) Timeout() bool {
	timeout, ok := e.error.(net.Error) //nolint:errorlint // reverse_proxy looks at the error itself, too
	return ok && timeout.Timeout()
}

func (e *unreachedError) Temporary() bool { return false }

// explainUnreached adds to an error of connecting to an upstream what to do, for Caddy's log.
func explainUnreached(err error) error {
	if unreached, ok := errors.AsType[*unreachedError](err); ok {
		return &unreachedError{err, unreached.failure, "; " + unreached.failure.Error()}
	}
	return err
}

// showDialErrors lets the causes of a transport's failures to connect be found by [errors.As].
// Caddy's transport wraps them in an error that cannot be unwrapped.
func showDialErrors(transport *http.Transport) {
	type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)
	wrap := func(dial dialFunc) dialFunc {
		if dial == nil {
			return nil
		}
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			var causes dialErrors
			conn, err := dial(httptrace.WithClientTrace(ctx, causes.trace()), network, address)
			if _, ok := errors.AsType[reverseproxy.DialError](err); ok {
				err = &dialError{err, causes.err(network)}
			}
			return conn, err
		}
	}
	transport.DialContext, transport.DialTLSContext = wrap(transport.DialContext), wrap(transport.DialTLSContext)
}

// dialError is an error of connecting, with its causes.
type dialError struct {
	error
	causes error
}

// Unwrap returns the error and its causes.
func (e *dialError) Unwrap() []error { return []error{e.error, e.causes} }

// errNotConnected is among the causes, so that there is one.
var errNotConnected = errors.New("not connected")

// dialErrors are the errors of connecting.
type dialErrors struct {
	mu   sync.Mutex
	errs []error
}

func (d *dialErrors) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSDone:     func(info httptrace.DNSDoneInfo) { d.add(info.Err) },
		ConnectDone: func(_, _ string, err error) { d.add(err) },
	}
}

// add adds the error of an attempt. An attempt that was cancelled is no cause, and reverse_proxy would
// take it for a client that went away.
func (d *dialErrors) add(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errs = append(d.errs, err)
}

func (d *dialErrors) err(network string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &net.OpError{Op: "dial", Net: network, Err: errors.Join(append(d.errs, errNotConnected)...)}
}
