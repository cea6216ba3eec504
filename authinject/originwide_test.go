package authinject

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wide are fields that apply to the whole origin, as upstreams write them.
var wide = map[string]string{
	"NEL": `{"report_to":"c","max_age":9}`, "Report-To": `{"group":"c","max_age":9,"endpoints":[]}`,
	"Reporting-Endpoints": `c="/c"`,
	"Clear-Site-Data":     `"*"`, "Strict-Transport-Security": "max-age=9", "Alt-Svc": `h3=":443"`,
	"Accept-CH":   "Sec-CH-UA-Model",
	"Critical-CH": "Sec-CH-UA-Model", "Origin-Agent-Cluster": "?0", "Set-Login": "logged-out",
	"Service-Worker-Allowed":     "/",
	"Cross-Origin-Opener-Policy": "same-origin", "Use-As-Dictionary": `match="/*"`,
	"Secure-Session-Registration":           `(ES256);path="/r"`,
	"Attribution-Reporting-Register-Source": "{}", "shared-storage-write": "clear", "Ad-Auction-Allowed": "?1",
}

// narrow are fields that apply only to their own answer.
var narrow = map[string]string{
	"Content-Security-Policy": "default-src 'self'", "Permissions-Policy": "camera=()", "Set-Cookie": "a=b",
	"No-Vary-Search":    "params",
	"Speculation-Rules": `"/rules"`, "Link": "</a>; rel=preload", "X-Attribution-Reporting-Of-Ours": "1",
}

func withFields(t *testing.T, h http.Header) {
	t.Helper()
	for name := range wide {
		if values := h[http.CanonicalHeaderKey(name)]; values != nil {
			t.Errorf("%s: %q is passed on", name, values)
		}
	}
	for name, value := range narrow {
		if h.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, h.Get(name), value)
		}
	}
}

// No answer of an upstream changes how a browser treats the whole origin, for every placement,
// status and protocol, in interim and final answers.
func TestNoAnswerCountsForTheOrigin(t *testing.T) {
	for name, in := range placements(t) {
		t.Run(name, func(t *testing.T) { noAnswerCountsForTheOrigin(t, in) })
	}
}

func noAnswerCountsForTheOrigin(t *testing.T, in Injection) {
	protocols(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, fields := range []map[string]string{wide, narrow} {
			for name, value := range fields {
				w.Header().Set(name, value)
			}
		}
		w.WriteHeader(http.StatusEarlyHints)
		switch r.URL.Path {
		case "/redirect":
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		case "/unchanged":
			w.WriteHeader(http.StatusNotModified)
		case "/refused":
			w.WriteHeader(http.StatusUnauthorized)
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
		default:
			w.Header().Set("Trailer", "Clear-Site-Data, X-Checksum")
			_, _ = io.WriteString(w, "hello")
			w.Header().Set("X-Checksum", "1")
			w.Header().Set(http.TrailerPrefix+"NEL", "{}")
		}
	}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
		rt.Injection, rt.Browsers = in, &Browsers{AnyHost: true}
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			for _, path := range []string{"/", "/redirect", "/unchanged", "/refused", "/broken"} {
				early := 0
				req := get(t, srv.URL+path)
				req.Method = method
				req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
						early++
						withFields(t, http.Header(h))
						return nil
					},
				}))
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				withFields(t, res.Header)
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if early == 0 {
					t.Errorf("%s %s: no interim answer came", method, path)
				}
				for field := range res.Trailer {
					if isOriginWide(field) {
						t.Errorf("%s %s: %s is passed on in the trailer", method, path, field)
					}
				}
				if path == "/" && method != http.MethodHead && res.Trailer.Get("X-Checksum") != "1" {
					t.Errorf("%s: the trailer is %v", method, res.Trailer)
				}
			}
		}
	})
}

// The header of an answer that switches the protocol is cleaned, too.
func TestNoUpgradeCountsForTheOrigin(t *testing.T) {
	rt := newTransport(t, &upstream{answer: func(req *http.Request) *http.Response {
		return respond(req, http.StatusSwitchingProtocols,
			http.Header{"Upgrade": {"websocket"}, "Strict-Transport-Security": {"max-age=9"}, "Nel": {"{}"}})
	}}, newSource(token(canary, 1)))
	rt.Browsers = &Browsers{AnyHost: true}
	res, _ := send(t, rt, get(t, "https://api.example.com/"))
	if res.StatusCode != http.StatusSwitchingProtocols || len(res.Header) != 1 {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

// Without a guard for web pages, as in a program's own client, the fields of an answer are not
// removed.
func TestFieldsStayWithoutAGuard(t *testing.T) {
	rt := newTransport(t, &upstream{answer: func(req *http.Request) *http.Response {
		return respond(req, http.StatusOK, http.Header{"Strict-Transport-Security": {"max-age=9"}})
	}}, newSource(token(canary, 1)))
	if res, _ := send(t, rt, get(t, "https://api.example.com/")); res.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%v", res.Header)
	}
}

// docs/security.md names every field that is removed, in the table that gives the reasons, and no
// other as removed.
func TestFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Response fields that affect the whole origin")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (.+?) \| (removed|passed)`).FindAllStringSubmatch(table, -1) {
		for _, field := range regexp.MustCompile("`([A-Za-z-]+?)(\\*?)`").FindAllStringSubmatch(row[1], -1) {
			name := http.CanonicalHeaderKey(field[1])
			if field[2] != "" {
				if !slices.Contains(originWidePrefixes[:], field[1]) && row[2] == "removed" {
					t.Errorf("%s* is called removed", field[1])
				}
				name += "X"
			} else if row[2] == "removed" {
				documented[name] = true
			}
			if isOriginWide(name) != (row[2] == "removed") {
				t.Errorf("%s is called %s", field[1], row[2])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(originWide)) {
		if !documented[name] {
			t.Errorf("%s is removed, and docs/security.md does not say so", name)
		}
	}
}
