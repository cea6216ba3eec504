package caddy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// The path that a command asks for is that of the account it is about, whatever the name.
func TestPathsOfTheAdminAPI(t *testing.T) {
	for _, name := range []string{"acme", ".", "..", "...", "a.b", "a/b", "/", "%2E", "a b", "ünï", "?x=1",
		"#", `"`, ";"} {
		var got []string
		mux := http.NewServeMux()
		mux.HandleFunc(adminBase, func(_ http.ResponseWriter, r *http.Request) {
			got, _ = pathOf(r)
		})
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost,
			adminBase+"sources/a/"+pathSegment(name)+"/refresh", nil))
		if want := []string{"sources", "a", name, "refresh"}; !slices.Equal(got, want) {
			t.Errorf("%q: the server sees %q", name, got)
		}
	}
}

// What is not allowed says what is (RFC 9110 section 15.5.6).
func TestAdminNamesTheMethods(t *testing.T) {
	w := httptest.NewRecorder()
	err := onlyGet(w, httptest.NewRequest(http.MethodPost, "/authinject/ready", nil), func() error {
		t.Error("it was served")
		return nil
	})
	var api caddy.APIError
	if !errors.As(err, &api) || api.HTTPStatus != http.StatusMethodNotAllowed ||
		w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("%v, Allow %q", err, w.Header().Get("Allow"))
	}
}

// A probe may use HEAD. It gets the status of GET (RFC 9110 section 9.3.2).
func TestAdminAnswersHead(t *testing.T) {
	served := false
	err := onlyGet(httptest.NewRecorder(), httptest.NewRequest(http.MethodHead, "/authinject/ready", nil), func() error {
		served = true
		return nil
	})
	if err != nil || !served {
		t.Errorf("HEAD was not served: %v", err)
	}
}

// Addresses stand in the answers as they are, so that they can be copied.
func TestAdminAnswersAreReadable(t *testing.T) {
	w := httptest.NewRecorder()
	const page = "https://proxy.example/connect?source=a&account=b"
	if err := answerJSON(w, http.StatusOK, map[string]string{"error": page}); err != nil {
		t.Fatal(err)
	}
	if got := w.Body.String(); !strings.Contains(got, page) || !strings.HasSuffix(got, "}\n") {
		t.Errorf("got %q", got)
	}
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("header %v", w.Header())
	}
}
