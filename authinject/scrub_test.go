package authinject

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

func TestScrub(t *testing.T) {
	const token = "ab+c/d=="
	for _, test := range []struct{ value, want string }{
		{"", ""},
		{"/next", "/next"},
		{"/?_bearer_token=ab+c/d==", "/?_bearer_token=REDACTED"},
		{"/?_bearer_token=ab%2Bc%2Fd%3D%3D&x=1", "/?_bearer_token=REDACTED&x=1"},
		{"/?_bearer_token=ab%2bc%2fd%3d=", "/?_bearer_token=REDACTED"},
		{"/login?next=%2F%3F_bearer_token%3Dab%252Bc%252Fd%253D%253D%26x", "/login?next=%2F%3F_bearer_token%3DREDACTED%26x"},
		{"/?t=%61%62%2B%63%2F%64%3D%3D", "/?t=REDACTED"},
		{"ab+c/d==ab+c/d==", "REDACTEDREDACTED"},
		{"aab+c/d==", "aREDACTED"},
		{"ab+c/d=", "ab+c/d="},
		{"ab%", "ab%"},
		{"ab%2", "ab%2"},
		{"ab%25", "ab%25"},
	} {
		if got := scrub(test.value, token); got != test.want {
			t.Errorf("%q becomes %q, want %q", test.value, got, test.want)
		}
	}
	if got := scrub("x", ""); got != "x" {
		t.Errorf("an empty token: %q", got)
	}
}

// A token may have percent signs (RFC 6749 appendix A.12). Then an encoded % and the digits after it
// can be read in several ways.
func TestScrubTokenWithPercentSigns(t *testing.T) {
	for _, test := range []struct{ token, value, want string }{
		{"ab%20ef", "/?t=ab%20ef&x", "/?t=REDACTED&x"},
		{"ab%20ef", "/?t=ab%2520ef/", "/?t=REDACTED/"},
		{"ab%20ef", "/?t=ab%252520ef/", "/?t=REDACTED/"},
		{"ab%20ef", "/?t=ab%25%32%30ef", "/?t=REDACTED"},
		{"ab%25ef", "ab%25ef,ab%2525ef,ab%252525ef", "REDACTED,REDACTED,REDACTED"},
		{"%25%25", "%25%25,%2525%2525,%252525%25", "REDACTED,REDACTED,REDACTED"},
		{"ab%", "ab%,ab%25,ab%2525", "REDACTED,REDACTED,REDACTED"},
		{"ab%%y", "ab%%y,ab%25%25y,ab%25%y", "REDACTED,REDACTED,REDACTED"},
		{"ab%20ef", "ab%2521ef ab%25", "ab%2521ef ab%25"},
	} {
		if got := scrub(test.value, test.token); got != test.want {
			t.Errorf("%q without %q becomes %q, want %q", test.value, test.token, got, test.want)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		token, value := make([]byte, 1+random.IntN(8)), ""
		for i := range token {
			token[i] = "%25aZ"[random.IntN(5)]
			encoded := string(token[i])
			for range random.IntN(4) {
				if len(encoded) == 1 {
					encoded = fmt.Sprintf("%%%02x", encoded)
				} else {
					encoded = strings.ReplaceAll(encoded, "%", "%25")
				}
			}
			value += encoded
		}
		if got := scrub("/"+value+"&", string(token)); got != "/REDACTED&" {
			t.Fatalf("%q without %q becomes %q", "/"+value+"&", token, got)
		}
	}
}

// An upstream that redirects to its own URL gives the token to every log and
// browser behind it. Measured: it stood in an access log at level INFO.
func TestQueryTokenDoesNotComeBack(t *testing.T) {
	const secret = "ab+c/d=="
	echo := func(req *http.Request) *http.Response {
		u := req.URL.String()
		return respond(req, 302, http.Header{
			"Location": {u}, "Content-Location": {u}, "Refresh": {"0; url=" + u}, "X-Other": {"kept"},
			"Link": {"<https://other.example/>; rel=x", "<" + u + ">; rel=next"}, "Referrer-Policy": {"unsafe-url"},
		})
	}
	rt := newTransport(t, &upstream{answer: echo}, newSource(token(secret, 1)))
	rt.Injection = queryInjection(t, "")
	req := get(t, "https://api.example.com/a?b=1")
	res, _ := send(t, rt, req)
	for field, values := range res.Header {
		rig.MustNotHold(t, field, strings.Join(values, "\n"), secret, "ab%2Bc%2Fd%3D%3D")
	}
	if got := res.Header.Get("Location"); got != "https://api.example.com/a?b=1&_bearer_token=REDACTED" {
		t.Errorf("Location %q", got)
	}
	if got := res.Header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy %q", got)
	}
	if res.Request != req {
		t.Errorf("the answer names the request with the token: %s", res.Request.URL)
	}
	// The header placement leaves the policy alone, but lets no token through in a URL either.
	rt.Injection = Injection{}
	res, _ = send(t, rt, get(t, "https://api.example.com/?debug=ab%2Bc%2Fd%3D%3D"))
	if res.Header.Get("Referrer-Policy") != "unsafe-url" ||
		res.Header.Get("Location") != "https://api.example.com/?debug=REDACTED" {
		t.Errorf("%v", res.Header)
	}
}

// Interim answers are passed on before RoundTrip returns; a token that they echo is removed as
// well, that of a second attempt too.
func TestTokenDoesNotComeBackEarly(t *testing.T) {
	for name, in := range placements(t) {
		t.Run(name, func(t *testing.T) { tokenDoesNotComeBackEarly(t, in) })
	}
}

// Who traces requests need not wait for interim answers.
func TestInterimAnswersThatNobodyWaitsFor(t *testing.T) {
	protocols(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
		req, sent := get(t, srv.URL+"/a"), false
		res, err := rt.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			WroteRequest: func(httptrace.WroteRequestInfo) { sent = true },
		})))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNoContent || !sent {
			t.Errorf("%s; traced: %t", res.Status, sent)
		}
	})
}

func tokenDoesNotComeBackEarly(t *testing.T, in Injection) {
	protocols(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.URL.Query().Get("_bearer_token") + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		w.Header().Set("Link", "</a?t="+token+">; rel=preload")
		w.Header().Set("X-Echo", "Bearer "+token)
		w.WriteHeader(http.StatusEarlyHints)
		if token == canaryTwo {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
		rt.Injection = in
		var early []string
		var sent int
		req := get(t, srv.URL+"/a")
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				early = append(early, h.Get("Link")+h.Get("X-Echo"))
				return nil
			},
			WroteRequest: func(httptrace.WroteRequestInfo) { sent++ },
		}))
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		want := "</a?t=REDACTED>; rel=preloadBearer REDACTED"
		if res.StatusCode != http.StatusNoContent || !slices.Equal(early, []string{want, want}) || sent != 2 {
			t.Errorf("%s, after %q; the rest of the trace saw %d requests", res.Status, early, sent)
		}
	})
}
