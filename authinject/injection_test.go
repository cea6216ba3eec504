package authinject

import (
	"strings"
	"testing"
)

func TestParseInjection(t *testing.T) {
	for _, test := range []struct {
		words []string
		want  string // as String has it
		value string // for the token "a+b/c="
		err   string // part of the error
	}{
		{words: []string{"header"}, want: "header Authorization Bearer", value: "Bearer a+b/c="},
		{words: []string{"header", "x-api-key"}, want: "header X-Api-Key Bearer", value: "Bearer a+b/c="},
		{words: []string{"header", "X-API-Key", ""}, want: `header X-Api-Key ""`, value: "a+b/c="},
		{words: []string{"header", "Authorization", "token"}, want: "header Authorization token", value: "token a+b/c="},
		{words: []string{"query"}, want: "query _bearer_token", value: "_bearer_token=a%2Bb%2Fc%3D"},
		{words: []string{"query", "api key&"}, err: "no spaces"},
		{words: []string{"query", "key&x"}, want: "query key&x", value: "key%26x=a%2Bb%2Fc%3D"},
		{words: nil, err: "placement is missing"},
		{words: []string{"cookie"}, err: `"cookie"`},
		{words: []string{"header", ""}, err: "name is empty"},
		{words: []string{"query", ""}, err: "name is empty"},
		{words: []string{"header", "a", "b", "c"}, err: `too many words from "c"`},
		{words: []string{"query", "a", "b"}, err: "too many words"},
		{words: []string{"header", "X Key"}, err: "not a header name"},
		{words: []string{"header", "X-Key\r\nEvil"}, err: "not a header name"},
		{words: []string{"header", "X-Key", "Two Words"}, err: "not an authentication scheme"},
		{words: []string{"header", "host"}, err: "cannot carry a token"},
		{words: []string{"header", "Connection"}, err: "cannot carry a token"},
		{words: []string{"header", "content-length"}, err: "cannot carry a token"},
		{words: []string{"header", "Transfer-Encoding"}, err: "cannot carry a token"},
		{words: []string{"header", "TE"}, err: "cannot carry a token"},
		{words: []string{"header", "Trailer"}, err: "cannot carry a token"},
		{words: []string{"header", "Upgrade"}, err: "cannot carry a token"},
		{words: []string{"header", "Proxy-Authorization"}, err: "cannot carry a token"},
		{words: []string{"header", "Cookie"}, err: "cannot carry a token"},
	} {
		t.Run(strings.Join(test.words, " "), func(t *testing.T) {
			in, err := ParseInjection(test.words...)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := in.String(); got != test.want {
				t.Errorf("read as %q, want %q", got, test.want)
			}
			if got := in.value("a+b/c="); got != test.value {
				t.Errorf("value %q, want %q", got, test.value)
			}
		})
	}
}

// The zero Injection and its written-out form are the same.
func TestZeroInjection(t *testing.T) {
	var in Injection
	if in.Placement() != PlacementHeader || in.Name() != "Authorization" || in.Scheme() != "Bearer" {
		t.Errorf("zero Injection: %s", in)
	}
	if got := headerInjection(t, "", "Bearer").String(); got != in.String() {
		t.Errorf("%q and %q differ", got, in)
	}
	if in := queryInjection(t, ""); in.Placement() != PlacementQuery || in.Name() != "_bearer_token" || in.Scheme() != "" {
		t.Errorf("query: %s", in)
	}
}

// RFC 6750 section 2.3: a client that puts the token into the query also asks
// caches not to store the answer.
func TestQueryInjectionAsksForNoStore(t *testing.T) {
	for _, test := range []struct{ client, want string }{
		{"", "no-store"},
		{"max-age=0", "max-age=0|no-store"},
		{"No-Store", "No-Store"},
	} {
		up := &upstream{}
		rt := newTransport(t, up, newSource(token(canary, 1)))
		rt.Injection = queryInjection(t, "")
		req := get(t, "https://api.example.com/")
		if test.client != "" {
			req.Header["Cache-Control"] = []string{test.client}
		}
		send(t, rt, req)
		if got := strings.Join(up.last(t).Header["Cache-Control"], "|"); got != test.want {
			t.Errorf("client %q: upstream %q, want %q", test.client, got, test.want)
		}
		if got := strings.Join(req.Header["Cache-Control"], "|"); got != test.client {
			t.Errorf("the client's own request has %q now", got)
		}
	}
}
