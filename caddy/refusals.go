package caddy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// showRefusal is how long the state of a source shows a [refusedRequest].
const showRefusal = time.Hour

// refusals logs the requests that are refused because of their destination, origin, method or
// subject, or because they name no account. Token failures are logged once, when they happen, and
// not for each request.
type refusals struct {
	logger *zap.Logger
	logged recently

	// last has an entry for each source of the configuration, and does not change after
	// newRefusals.
	last map[string]*atomic.Pointer[refusedRequest]

	mu sync.Mutex
	// expected says, by source, which upstreams of the configuration get no token.
	expected map[string][]expectedRefusal
}

func newRefusals(logger *zap.Logger, sources iter.Seq[string]) *refusals {
	l := &refusals{
		logger: logger, last: make(map[string]*atomic.Pointer[refusedRequest]), expected: make(map[string][]expectedRefusal),
	}
	for source := range sources {
		l.last[source] = new(atomic.Pointer[refusedRequest])
	}
	return l
}

// refusedRequest is the last request of a source that an operator has to do something about: its
// upstream is not a destination of the source, or the upstream refused the DPoP proof.
type refusedRequest struct {
	at      time.Time
	text    string // without the name of the source and without the remedy
	problem string // see [tokensource.Remedies]
	remedy  string
	proof   bool // the upstream refused the DPoP proof
}

// expectedRefusal is an upstream of the configuration that gets no token.
type expectedRefusal struct {
	reason  string // the same text as in a [refusedRequest]
	problem problemStatus
}

func (l *refusals) note(source string, r authinject.Result) {
	log := l.logger.Warn
	switch {
	case r.Outcome == authinject.OutcomeDestination,
		r.Outcome == authinject.OutcomeRefused && r.Class == tokensource.ClassOperator:
		log = l.logger.Error // the configuration, or this machine's clock, has to be corrected
		text := strings.TrimPrefix(r.Detail, fmt.Sprintf("token source %q: ", source))
		l.last[source].Store(&refusedRequest{
			at: time.Now(), text: withoutRemedy(text, r.Remedy), problem: r.Problem, remedy: r.Remedy,
			proof: r.Outcome == authinject.OutcomeRefused,
		})
	case r.Problem == "no_account": // see [tokensource.Remedies]; no token request failed, so nothing else logs it
	case r.Outcome == authinject.OutcomeOrigin, r.Outcome == authinject.OutcomeMethod,
		r.Outcome == authinject.OutcomeSubject:
	default:
		return
	}
	if l.logged.isNews(string(r.Outcome), source+" "+r.Detail, time.Now()) {
		fields := []zap.Field{zap.String("source", source), zap.String("class", string(r.Class)),
			zap.String("outcome", string(r.Outcome)), zap.String("error", r.Detail), zap.Int("status", r.Status)}
		if r.Problem != "" {
			fields = append(fields, zap.String("problem", r.Problem), zap.String("remedy", r.Remedy))
		}
		log("a request was refused", fields...)
	}
}

// noteExpected notes that an upstream of the configuration gets no token of the source.
func (l *refusals) noteExpected(source, upstream string, why *authinject.DestinationError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	warning := withRemedy(fmt.Sprintf("token source %q: requests to the upstream %s will be refused: %s",
		source, upstream, why), why.Remedy())
	expected := expectedRefusal{why.Error(), problemStatus{why.Problem(), tokensource.ClassOperator, warning, why.Remedy()}}
	if !slices.Contains(l.expected[source], expected) {
		l.expected[source] = append(l.expected[source], expected)
	}
}

// problems returns the upstreams of the configuration that get no token of the source, except those
// with that reason.
func (l *refusals) problems(source, except string) (list []problemStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, expected := range l.expected[source] {
		if expected.reason != except {
			list = append(list, expected.problem)
		}
	}
	return list
}

// lastOf returns the last refused request of a source, unless that was long ago.
func (l *refusals) lastOf(source string, now time.Time) (refusedRequest, bool) {
	last := l.last[source].Load()
	if last == nil || now.Sub(last.at) >= showRefusal {
		return refusedRequest{}, false
	}
	return *last, true
}

// watcher returns a function that counts the results of a source's requests and logs refusals.
func (a *App) watcher(source string) func(authinject.Result) {
	count, last := requestCounter(source), a.refusals.last[source]
	return func(r authinject.Result) {
		count(r)
		if r.InsufficientScope {
			a.lackedScopes.note(a.pooled[source].source.Account(r.Account).InsufficientScope(r.NeededScope),
				r.NeededScope, time.Now())
		}
		switch r.Outcome {
		case authinject.OutcomeInjected, authinject.OutcomeReplaced:
			// The upstream accepted the proof. A refused destination stays until the configuration
			// changes.
			if refused := last.Load(); refused != nil && refused.proof {
				last.CompareAndSwap(refused, nil)
			}
		default:
			a.refusals.note(source, r)
		}
	}
}
