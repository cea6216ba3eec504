package caddy

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// The path that a command asks for is that of the account it is about, whatever the name.
func TestPathsOfTheAdminAPI(t *testing.T) {
	for _, name := range []string{"acme", ".", "..", "...", "a.b", "a/b", "/", "%2E", "a b", "ünï", "?x=1", "#", `"`, ";"} {
		var got []string
		mux := http.NewServeMux()
		mux.HandleFunc(adminBase, func(_ http.ResponseWriter, r *http.Request) {
			got, _ = pathOf(r)
		})
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, adminBase+"sources/a/"+pathSegment(name)+"/refresh", nil))
		if want := []string{"sources", "a", name, "refresh"}; !slices.Equal(got, want) {
			t.Errorf("%q: the server sees %q", name, got)
		}
	}
}
