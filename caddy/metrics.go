package caddy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// Labels are names from the configuration and fixed words, and never a text of a client or a
// provider. The counters keep their values over reloads.
var (
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "authinject", Name: "requests_total",
		Help: "Proxied requests, by outcome and class of the failure.",
	}, []string{"source", "outcome", "class"})

	tokenRequestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "authinject", Name: "token_requests_total",
		Help: "Attempts to get a token, by result: obtained, the class of the failure (wait, operator, login), " +
			"or subject if the provider refused a caller's token.",
	}, []string{"source", "result"})
)

var (
	liveDesc = prometheus.NewDesc("authinject_token_live",
		"1 while the source's unnamed account has a live token, else 0.", []string{"source"}, nil)
	expiryDesc = prometheus.NewDesc("authinject_token_expiry_timestamp_seconds",
		"When the token of the source's unnamed account expires, in Unix seconds; absent if that is not known.",
		[]string{"source"}, nil)
	problemDesc = prometheus.NewDesc("authinject_problem",
		"1 for each problem of the source's unnamed account or upstreams; docs/troubleshooting.md explains the words.",
		[]string{"source", "problem", "class"}, nil)
	refusedDesc = prometheus.NewDesc("authinject_token_refused",
		"1 while an upstream refuses the token of the source's unnamed account, else 0.", []string{"source"}, nil)
	unsavedDesc = prometheus.NewDesc("authinject_token_unsaved",
		"1 while the storage does not hold the newest token of the source's unnamed account, else 0.",
		[]string{"source"}, nil)
	scopesDesc = prometheus.NewDesc("authinject_scopes_missing",
		"Number of configured scopes that the provider did not grant to the source's unnamed account.",
		[]string{"source"}, nil)
)

// sourceCollector collects the state of an app's sources.
type sourceCollector struct{ app *App }

// Describe implements [prometheus.Collector].
func (sourceCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{liveDesc, expiryDesc, problemDesc, refusedDesc, unsavedDesc, scopesDesc} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c sourceCollector) Collect(metrics chan<- prometheus.Metric) {
	for name, pooled := range c.app.pooled {
		gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{name}, labels...)...)
		}
		// A problem without a row in [tokensource.Remedies] is reported as other. Several problems
		// may have the same word. Only the first one is reported, because the registry refuses a
		// series that is collected twice.
		seen := make(map[string]bool)
		add := func(word string, class tokensource.Class) {
			if word = cmp.Or(word, "other"); !seen[word] {
				seen[word] = true
				gauge(problemDesc, 1, word, string(class))
			}
		}
		for _, problem := range slices.Concat(c.app.upstreamProblems(name, time.Now()),
			c.app.sharedAddresses(c.app.routes.listens[name])) {
			add(problem.Problem, problem.Class)
		}
		if c.app.perRequest(name) {
			continue // each request names its account, and the unnamed account has no state
		}
		st := pooled.source.Account("").Status()
		gauge(liveDesc, number(st.Live))
		gauge(refusedDesc, number(st.Live && st.Refused))
		gauge(unsavedDesc, number(st.Unsaved))
		gauge(scopesDesc, float64(len(st.MissingScopes)))
		for _, problem := range st.Problems() {
			add(problem.Problem(), problem.Class)
		}
		if refused, ok := c.app.refusals.lastOf(name, time.Now()); ok {
			add(refused.problem, tokensource.ClassOperator)
		}
		if !st.Expiry.IsZero() {
			gauge(expiryDesc, float64(st.Expiry.Unix()))
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (a *App) registerMetrics(registry *prometheus.Registry) error {
	for _, collector := range []prometheus.Collector{requestsTotal, tokenRequestsTotal, sourceCollector{a}} {
		if err := registry.Register(collector); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// countEvent counts e in authinject_token_requests_total.
func countEvent(e tokensource.Event) {
	switch e.Kind {
	case tokensource.EventRefreshed:
		tokenRequestsTotal.WithLabelValues(e.Source, "obtained").Inc()
	case tokensource.EventSubjectRefused:
		tokenRequestsTotal.WithLabelValues(e.Source, "subject").Inc()
	case tokensource.EventRefreshFailed, tokensource.EventLoginRequired:
		tokenRequestsTotal.WithLabelValues(e.Source, string(class(e.Err))).Inc()
	}
}

// requestCounter returns a function that counts a source's requests in authinject_requests_total. It
// looks up the series of the most frequent outcome only once.
func requestCounter(source string) func(authinject.Result) {
	injected := requestsTotal.WithLabelValues(source, string(authinject.OutcomeInjected), "")
	return func(r authinject.Result) {
		if r.Outcome == authinject.OutcomeInjected {
			injected.Inc()
			return
		}
		requestsTotal.WithLabelValues(source, string(r.Outcome), string(r.Class)).Inc()
	}
}
