package caddy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// Status and /authinject/ready warn of requests that the upstream refused because of a scope. The
// state and the exit status stay as they are, because other requests may succeed.
func TestStatusOfAScopeThatTheUpstreamWants(t *testing.T) {
	app := provisioned(t, tiltify(t))
	watch := app.watcher("a")
	status := func() accountStatus { return app.sourceStatus(t.Context(), "a", false).Accounts[0] }
	before := status()
	watch(authinject.Result{Outcome: authinject.OutcomeInjected, Status: http.StatusForbidden})
	if st := status(); len(st.Problems) != len(before.Problems) {
		t.Errorf("after another 403: %+v", st.Problems)
	}
	watch(authinject.Result{Outcome: authinject.OutcomeInjected, Status: http.StatusForbidden, InsufficientScope: true,
		NeededScope: "orders.write"})
	const text = `token source "a": the upstream answered that the token lacks a scope: add the scope orders.write to the ` +
		`option scopes`
	st := status()
	at := slices.IndexFunc(st.Problems, func(p problemStatus) bool { return p.Problem == "insufficient_scope" })
	if at < 0 || !strings.HasPrefix(st.Problems[at].Error, text) || st.Problems[at].Class != tokensource.ClassOperator ||
		!slices.Contains(st.Warnings, st.Problems[at].Error) || st.exit() != before.exit() || st.State != before.State ||
		!strings.HasSuffix(st.Words, " But an upstream refused a request, because the token lacks a scope.") {
		t.Errorf("got %+v", st)
	}
	w := httptest.NewRecorder()
	if err := app.serveReady(w, httptest.NewRequest(http.MethodGet, "/authinject/ready", nil)); err != nil ||
		!strings.Contains(w.Body.String(), "add the scope orders.write") {
		t.Errorf("ready: %v %s", err, w.Body)
	}
	if list := app.lackedScopes.problems("a", time.Now().Add(showRefusal)); list != nil {
		t.Errorf("after an hour: %+v", list)
	}
}

// The status of an account shows a missing scope only if the request had a token of that account.
func TestScopeOfOneAccount(t *testing.T) {
	app := provisioned(t, tiltify(t))
	app.watcher("a")(authinject.Result{Outcome: authinject.OutcomeInjected, Status: http.StatusForbidden,
		InsufficientScope: true, Account: "leela"})
	for account, want := range map[string]bool{"leela": true, "fry": false, "": false} {
		st := app.accountStatus(tokensource.Status{Source: "a", Account: account}, "authorization_code")
		if got := slices.ContainsFunc(st.Problems, func(p problemStatus) bool {
			return p.Problem == "insufficient_scope" && strings.HasPrefix(p.Error, `token source "a", account "leela": `)
		}); got != want {
			t.Errorf("account %q: %+v", account, st.Problems)
		}
	}
	if list := app.upstreamProblems("a", time.Now()); len(list) != 1 {
		t.Errorf("the problems of the upstream are %+v", list)
	}
}

// A refused request of one account hides no other account's. Only so many accounts are remembered.
func TestScopesOfSeveralAccounts(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	l, now := newLackedScopes(zap.New(core)), time.Now()
	note := func(account string) {
		now = now.Add(time.Second)
		l.note(&tokensource.Error{Source: "a", Account: account, Class: tokensource.ClassOperator}, "orders.write", now)
	}
	note("leela")
	note("fry")
	note("fry") // the same again is no news
	if entries := logs.All(); len(entries) != 2 || entries[0].ContextMap()["account"] != "leela" ||
		entries[1].ContextMap()["account"] != "fry" {
		t.Errorf("logged %+v", entries)
	}
	for _, account := range []string{"leela", "fry"} {
		if list := l.of("a", account, now); len(list) != 1 {
			t.Errorf("account %s: %+v", account, list)
		}
	}
	if list := l.problems("a", now); len(list) != 2 || !strings.Contains(list[0].Error, `"fry"`) {
		t.Errorf("the problems of the source are %+v", list)
	}
	for i := range maxLackedScopes - 1 {
		note(fmt.Sprint(i))
	}
	if len(l.last) != maxLackedScopes || l.of("a", "leela", now) != nil || l.of("a", "fry", now) == nil {
		t.Errorf("%d accounts are remembered", len(l.last))
	}
}
