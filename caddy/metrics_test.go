package caddy

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A refused request with the same problem as the account's own is one series. If it were collected
// twice, the whole endpoint /metrics would answer with an error.
func TestMetricsHaveEachProblemOnce(t *testing.T) {
	t.Setenv("EMPTY", "")
	app := provisioned(t, stored(t).Source("a", "token {env.EMPTY}").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a https://api.example.com"))
	account := app.pooled["a"].source.Account("")
	if _, err := account.Token(t.Context()); err == nil {
		t.Fatal("there is a token")
	}
	problem := account.Status().Problems()[0].Problem()
	app.refusals.note("a", authinject.Result{Outcome: authinject.OutcomeRefused, Class: tokensource.ClassOperator,
		Problem: problem})
	families, err := app.ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Error(err)
	}
	series := 0
	for _, family := range families {
		if family.GetName() == "authinject_problem" {
			series += len(family.GetMetric())
		}
	}
	if series != 1 {
		t.Errorf("%d series of authinject_problem", series)
	}
}

// An upstream that cannot be reached is a problem of each source that has it, also of one whose
// accounts a request chooses.
func TestMetricsHaveUnreachedUpstreams(t *testing.T) {
	t.Setenv("TOKEN", rig.Canary)
	app := provisioned(t, stored(t).Source("a", "token {env.TOKEN}").
		Source("b", "grant authorization_code", "client_id c", "client_auth none",
			"authorize_url https://login.example.com/a", "token_url https://login.example.com/t").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject /a a https://api.example.com",
			rig.Block("authinject /b b https://api.example.com", "account {http.auth.user.id}")))
	for name, upstreams := range app.unreached {
		for _, at := range []string{"https://api.example.com", "https://api.example.com:8443"} {
			upstreams.failed(at, tokensource.UpstreamFailure(name, at, syscall.ECONNREFUSED), time.Now())
		}
	}
	families, err := app.ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Error(err)
	}
	got := make(map[string]int)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "problem" {
					got[label.GetValue()]++
				}
			}
		}
	}
	if got["upstream_refused"] != 2 {
		t.Errorf("got %v", got)
	}
}

// An address that another process has, too, is a problem of each source at that address.
func TestMetricsHaveSharedAddresses(t *testing.T) {
	before := theNeighbours
	t.Cleanup(func() { theNeighbours = before })
	theNeighbours = &neighbours{others: func(string) []string { return []string{"caddy (process 42)"} }}
	t.Setenv("TOKEN", rig.Canary)
	app := provisioned(t, stored(t).Source("at-site", "token {env.TOKEN}").Source("elsewhere", "token {env.TOKEN}").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject at-site https://api.example.com"))
	families, err := app.ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Error(err)
	}
	var sources []string
	for _, family := range families {
		if family.GetName() != "authinject_problem" {
			continue
		}
		for _, series := range family.GetMetric() {
			labels := make(map[string]string)
			for _, label := range series.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["problem"] == sharedAddress && labels["class"] == string(tokensource.ClassOperator) {
				sources = append(sources, labels["source"])
			}
		}
	}
	if !slices.Equal(sources, []string{"at-site"}) {
		t.Errorf("the problem is that of %q", sources)
	}
}
