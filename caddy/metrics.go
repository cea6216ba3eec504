package caddy

import (
	"cmp"
	"errors"
	"fmt"
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
		Help: "Proxied requests, by what became of them.",
	}, []string{"source", "outcome", "class"})

	tokenRequestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "authinject", Name: "token_requests_total",
		Help: "Attempts to get a token, by their result: obtained, the class of the failure, or subject if a caller's token was refused.",
	}, []string{"source", "result"})
)

var (
	liveDesc = prometheus.NewDesc("authinject_token_live",
		"1 while the source's unnamed account has a token to give, 0 while it has none.", []string{"source"}, nil)
	expiryDesc = prometheus.NewDesc("authinject_token_expiry_timestamp_seconds",
		"When the token of the source's unnamed account ends, in Unix seconds; absent where no end is known.", []string{"source"}, nil)
	problemDesc = prometheus.NewDesc("authinject_problem",
		"1 for each problem of the source's unnamed account or upstreams; docs/troubleshooting.md explains the words.",
		[]string{"source", "problem", "class"}, nil)
	refusedDesc = prometheus.NewDesc("authinject_token_refused",
		"1 while an upstream refuses the token of the source's unnamed account, 0 while none does.", []string{"source"}, nil)
	unsavedDesc = prometheus.NewDesc("authinject_token_unsaved",
		"1 while the storage does not hold the newest token of the source's unnamed account, else 0.", []string{"source"}, nil)
	scopesDesc = prometheus.NewDesc("authinject_scopes_missing",
		"Number of configured scopes that the provider did not grant to the source's unnamed account.", []string{"source"}, nil)
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
		// Two problems may have the same word, or no row in the table. The registry answers with an
		// error if a series is collected twice.
		seen := make(map[string]bool)
		add := func(word string, class tokensource.Class) {
			if word = cmp.Or(word, "other"); !seen[word] {
				seen[word] = true
				gauge(problemDesc, 1, word, string(class))
			}
		}
		for _, problem := range c.app.unreached[name].problems(time.Now()) {
			add(problem.Problem, problem.Class)
		}
		if c.app.perRequest(name) {
			continue
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

// registerMetrics adds the metrics to a configuration's registry.
func (a *App) registerMetrics(registry *prometheus.Registry) error {
	for _, collector := range []prometheus.Collector{requestsTotal, tokenRequestsTotal, sourceCollector{a}} {
		if err := registry.Register(collector); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// count counts the events of sources.
func count(e tokensource.Event) {
	switch e.Kind {
	case tokensource.EventRefreshed:
		tokenRequestsTotal.WithLabelValues(e.Source, "obtained").Inc()
	case tokensource.EventSubjectRefused:
		tokenRequestsTotal.WithLabelValues(e.Source, "subject").Inc()
	case tokensource.EventRefreshFailed, tokensource.EventLoginRequired:
		tokenRequestsTotal.WithLabelValues(e.Source, string(class(e.Err))).Inc()
	}
}

// counter returns a function that counts the results of a source's requests. The usual outcome
// needs no look-up.
func counter(source string) func(authinject.Result) {
	injected := requestsTotal.WithLabelValues(source, string(authinject.OutcomeInjected), "")
	return func(r authinject.Result) {
		if r.Outcome == authinject.OutcomeInjected {
			injected.Inc()
			return
		}
		requestsTotal.WithLabelValues(source, string(r.Outcome), string(r.Class)).Inc()
	}
}
