package caddy

import (
	"testing"

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
	app.refusals.note("a", authinject.Result{Outcome: authinject.OutcomeRefused, Class: tokensource.ClassOperator, Problem: problem})
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
