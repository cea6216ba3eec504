package caddy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// admin asks the admin API of the running configuration, which listens nowhere.
func admin(t *testing.T, path string, into any) (status int, body string) {
	t.Helper()
	info, err := caddy.GetModule("admin.api.authinject")
	if err != nil {
		t.Fatal(err)
	}
	api := info.New().(caddy.AdminRouter)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/authinject/"+path, nil)
	if err := api.Routes()[0].Handler.ServeHTTP(w, r); err != nil {
		return http.StatusNotFound, err.Error()
	}
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
	}
	return w.Code, w.Body.String()
}

// state is what these tests read of an account.
type state struct {
	Account, State, Class, Problem, Remedy, Wanted, Words string

	Problems []struct{ Problem, Class, Remedy string }
	Warnings []string
}

// An account that a request asked for and that was never connected is in the admin API, until it is
// connected. One that nothing asked for is 404 with what to do.
func TestAdminHasTheAccountsThatRequestsNeed(t *testing.T) {
	p, ada, addr := perAccount(t)
	accounts := func() map[string]state {
		t.Helper()
		var source struct{ Accounts []state }
		_, _ = admin(t, "sources/a", &source)
		byName := make(map[string]state)
		for _, st := range source.Accounts {
			byName[st.Account] = st
		}
		return byName
	}
	if got := accounts(); len(got) != 0 {
		t.Errorf("before any request: %+v", got)
	}
	for _, name := range []string{"leela", "leela", "", "fry"} {
		_, _, _ = get(t, "http://"+addr+"/api/x", "X-Account", name)
	}
	got := accounts()
	if st := got["leela"]; len(got) != 2 || st.State != "login_required" || st.Class != "login" ||
		st.Problem != "not_connected" || st.Wanted == "" ||
		st.Words != "Not connected." || !strings.HasSuffix(st.Remedy, "caddy authinject login a --account leela") {
		t.Errorf("%+v", got)
	}
	ada.connect(p, "leela")
	if st := accounts()["leela"]; st.State != "fresh" || st.Wanted != "" || st.Problem != "" {
		t.Errorf("after the login: %+v", st)
	}
	if status, body := admin(t, "sources/a/zoidberg", nil); status != http.StatusNotFound ||
		!strings.Contains(body, "caddy authinject login a --account zoidberg") {
		t.Errorf("%d %s", status, body)
	}
}

// An API that refuses the replacement of a token too is seen in the state, and is a warning of
// ready.
func TestAdminHasARefusedReplacement(t *testing.T) {
	isolate(t)
	srv := tokensourcetest.Start(t, tokensourcetest.Config{})
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(api.Close)
	addr := rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.Source("a", "grant client_credentials", rig.Client(srv), "destinations "+api.URL).
		Site("http://"+addr, "bind 127.0.0.1", "authinject /elsewhere a {http.request.header.X-Upstream}",
			"authinject a "+api.URL))
	if status, _, _ := get(t, "http://"+addr+"/x"); status != http.StatusUnauthorized {
		t.Fatalf("the API's answer is %d", status)
	}
	var source struct{ Accounts []state }
	_, body := admin(t, "sources/a", &source)
	if st := source.Accounts[0]; st.State != "refused" || st.Class != "operator" || st.Problem != "replacement_refused" ||
		st.Remedy == "" ||
		len(st.Problems) != 1 || st.Problems[0].Problem != st.Problem || len(st.Warnings) != 0 {
		t.Errorf("%s", body)
	}
	var ready struct{ Warnings []string }
	if status, body := admin(t, "ready", &ready); status != http.StatusOK || len(ready.Warnings) != 1 ||
		!strings.Contains(ready.Warnings[0], "refused the token and the new one") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := get(t, "http://"+addr+"/elsewhere", "X-Upstream", "127.0.0.1:1"); status != http.StatusBadGateway {
		t.Fatalf("the answer is %d", status)
	}
	_, body = admin(t, "ready", &ready)
	for _, once := range []string{"refused the token and the new one", "no token is sent to http://127.0.0.1:1:"} {
		if len(ready.Warnings) != 2 || strings.Count(body, once) != 1 {
			t.Errorf("%q is not there once: %s", once, body)
		}
	}
}
