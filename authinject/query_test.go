package authinject

import (
	"bufio"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestStripQuery(t *testing.T) {
	in := queryInjection(t, "_bearer_token")
	for _, test := range []struct{ raw, want string }{
		{"", ""},
		{"a=1", "a=1"},
		{"_bearer_token=x", ""},
		{"_bearer_token", ""},
		{"a=1&_bearer_token=x", "a=1"},
		{"_bearer_token=x&a=1", "a=1"},
		{"a=1&_bearer_token=x&b=2", "a=1&b=2"},
		{"a=1&_bearer_token=x&_bearer_token=y&b=2", "a=1&b=2"},
		{"_bearer_token=junk&x=1;y=2&bad=%zz&_BEARER_TOKEN=x", "x=1;y=2&bad=%zz"},
		// a semicolon separates for some servers
		{"x=1;_bearer_token=evil", "x=1"},
		{"x=1;_bearer_token=evil;y=2", "x=1;y=2"},
		{"x=1;_bearer_token=evil&y=2", "x=1&y=2"},
		{"x=1&_bearer_token=evil;y=2", "x=1&y=2"},
		{"_bearer_token=evil;y=2", "y=2"},
		// all other parts stay unchanged
		{"&&a=1&", "&&a=1&"},
		{"&_bearer_token=x&", "&"},
		{"a=%zz&%gg=1&b=+%20&b=2&;", "a=%zz&%gg=1&b=+%20&b=2&;"},
		{"a=_bearer_token=x", "a=_bearer_token=x"},
		{"my_bearer_token=x", "my_bearer_token=x"},
		{"_bearer_tokens=x", "_bearer_tokens=x"},
		{"_bearer_token_=x", "_bearer_token_=x"},
		// aliases
		{"%5Fbearer_token=x", ""},
		{"%5fBEARER%5FTOKEN=x", ""},
		{"+_bearer_token+=x", ""},
		{"%20_bearer_token%00=x", ""},
		{"_bearer_token%00.jpg=x", ""},
		{"%0a_bearer_token%09=x", ""},
		{"_bearer_token[]=x", ""},
		{"_bearer_token%5B0%5D=x", ""},
		{"_bearer_token[a][b]=x", ""},
		{"[_bearer_token]=x", ""},
		{"%5B_bearer_token%5D=x", ""},
		{"[[_bearer_token]]=x", ""},
		{"[a]_bearer_token=x", "[a]_bearer_token=x"},
		{"_bearer[token]=x&access[token]=y&access%5Btoken%5D[]=z", "_bearer[token]=x&access[token]=y&access%5Btoken%5D[]=z"},
		{"filter[_bearer_token]=x", "filter[_bearer_token]=x"},
		{"[_bearer_token_hint]=x", "[_bearer_token_hint]=x"},
		{"_bearer_token]x=y", "_bearer_token]x=y"},
		{"%u005Fbearer_token=x", ""},
		{"_bearer%U005ftok%u0065n=x", ""},
		{"_bearer_to%u212Aen=x", ""},
		{"_bearer_token%u005=x", "_bearer_token%u005=x"},
		{"_bearer.token=x", ""},
		{".bearer+token=x", ""},
		{"_bearer[token=x", ""},
		{"?_bearer_token=x", ""},
		{"_bearer_token+[a]=x", ""},
		{"%C2%A0_bearer_token%E3%80%80=x", ""},
		{"_bearer_to%E2%84%AAen=x", ""},
		{"_bearer_token%zz=x", "_bearer_token%zz=x"},
		{"a=1&_bearer_token#b", "a=1"},
		{"_bearer_token%23=x#b", "_bearer_token%23=x#b"},
		{"_bearer_token%=x", "_bearer_token%=x"},
		{"%%5Fbearer_token=x", "%%5Fbearer_token=x"},
		{strings.Repeat("+", 4096) + "_bearer_token=x", ""},
		// RFC 6750 section 2.3
		{"access_token=x&a=1", "a=1"},
	} {
		if got := in.stripQuery(test.raw); got != test.want {
			t.Errorf("%q becomes %q, want %q", test.raw, got, test.want)
		}
	}
}

func TestStripQueryList(t *testing.T) {
	const raw = "access_token=1&_bearer_token=2&key=3&a=4"
	for _, test := range []struct {
		name string
		in   Injection
		want string
	}{
		{"header, default", Injection{}, "key=3&a=4"},
		{"header, none", Injection{StripQuery: []string{}}, raw},
		{"header, own list", Injection{StripQuery: []string{"Key"}}, "access_token=1&_bearer_token=2&a=4"},
		{"query, default", queryInjection(t, "key"), "a=4"},
		{"query, none", func() Injection { in := queryInjection(t, "key"); in.StripQuery = []string{}; return in }(),
			"access_token=1&_bearer_token=2&a=4"},
	} {
		if got := test.in.stripQuery(raw); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// A query without credentials needs no allocation.
func TestStripQueryAllocatesNothing(t *testing.T) {
	in := queryInjection(t, "")
	if n := testing.AllocsPerRun(100, func() { in.stripQuery("page=2&per_page=50&q=caf%C3%A9;x") }); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

// No other part of the URL changes.
func TestQueryInjectionKeepsTheURL(t *testing.T) {
	up := &upstream{}
	rt := newTransport(t, up, newSource(token("a+b", 1)))
	rt.Injection = queryInjection(t, "")
	req := get(t, "https://api.example.com/a%2Fb/./c?x=1;y=2&bad=%zz")
	req.URL.Fragment, req.URL.ForceQuery = "frag", true
	before := *req.URL
	send(t, rt, req)

	want := before
	want.RawQuery = "x=1;y=2&bad=%zz&_bearer_token=a%2Bb"
	if got := *up.last(t).URL; got != want {
		t.Errorf("URL %+v, want %+v", got, want)
	}
	if *req.URL != before {
		t.Errorf("the client's URL became %+v", *req.URL)
	}
}

// HTTP allows no "#" in a request's address, but package http passes it on. Some upstreams take what
// follows for a fragment, and others for a part of the query. All of them see the token.
func TestQueryInjectionWithANumberSign(t *testing.T) {
	up := &upstream{}
	rt := newTransport(t, up, newSource(token(canary, 1)))
	rt.Injection = queryInjection(t, "")
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET /c?a=1#b HTTP/1.1\r\nHost: api.example.com\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Scheme, req.URL.Host = "https", "api.example.com"
	send(t, rt, req)
	sent := up.last(t).URL.RequestURI()
	asFragment, err := url.Parse(sent)
	if err != nil {
		t.Fatal(err)
	}
	asQuery, err := url.ParseRequestURI(sent)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []*url.URL{asFragment, asQuery} {
		if got := u.Query().Get("_bearer_token"); got != canary {
			t.Errorf("%s: an upstream sees the token %q in the query %q", sent, got, u.RawQuery)
		}
	}
}

// The upstream does not get the client's request line, which may contain a credential.
func TestQueryInjectionDropsRequestURI(t *testing.T) {
	up := &upstream{}
	rt := newTransport(t, up, newSource(token(canary, 1)))
	req := get(t, "https://api.example.com/?access_token=of-the-client")
	req.RequestURI = "/?access_token=of-the-client"
	send(t, rt, req)
	if got := up.last(t).RequestURI; got != "" {
		t.Errorf("RequestURI %q", got)
	}
	if req.RequestURI == "" {
		t.Error("the client's request was changed")
	}
}

// lenient reads a query like the most lenient server: it accepts both separators, and ignores the
// case of names, white space and brackets.
func lenient(raw string) map[string][]string {
	values := map[string][]string{}
	for _, piece := range strings.FieldsFunc(raw, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(piece, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
		name, _, _ = strings.Cut(name, "[")
		name = strings.ToLower(strings.TrimSpace(name))
		values[name] = append(values[name], value)
	}
	return values
}

// checkQuery checks the properties that hold for every query.
func checkQuery(t *testing.T, raw string) {
	t.Helper()
	in := queryInjection(t, "_bearer_token")
	in.StripQuery = []string{}
	const ours = "_bearer_token=" + canary

	out := in.injectQuery(raw, ours)
	rest := strings.TrimSuffix(strings.TrimSuffix(out, ours), "&")
	switch stripped := in.stripQuery(raw); {
	case strings.Contains(stripped, "#"):
		if out != ours+"&"+stripped {
			t.Fatalf("%q becomes %q, which does not begin with our parameter", raw, out)
		}
	case !strings.HasSuffix(out, ours) || rest != "" && out != rest+"&"+ours && out != rest+"&&"+ours:
		t.Fatalf("%q becomes %q, which does not end with our parameter", raw, out)
	}
	// Without the injected parameter, the result has the pieces of the input that do not match, in
	// the same order.
	pieces := func(s string, minus bool) (kept []string) {
		for _, piece := range strings.FieldsFunc(s, func(r rune) bool { return r == '&' || r == ';' }) {
			name, _, _ := strings.Cut(piece, "=")
			if !minus || !matchParameter(name, in.Name()) {
				kept = append(kept, piece)
			}
		}
		return kept
	}
	if got, want := pieces(in.stripQuery(raw), false),
		pieces(raw, true); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q: pieces %q, want %q", raw, got, want)
	}
	if stripped := in.stripQuery(raw); len(pieces(raw, true)) == len(pieces(raw, false)) && stripped != raw {
		t.Errorf("%q has nothing to strip and became %q", raw, stripped)
	}
	// Stripping twice has the same result as stripping once.
	if once := in.stripQuery(raw); in.stripQuery(once) != once {
		t.Errorf("%q: %q still has something to strip", raw, once)
	}
	// No server reads another value.
	parsed, _ := url.ParseQuery(out)
	for name, values := range parsed {
		if strings.EqualFold(strings.TrimSpace(name), in.Name()) && (len(values) != 1 || values[0] != canary) {
			t.Errorf("%q: url.ParseQuery sees %q", out, values)
		}
	}
	if values := lenient(out)[in.Name()]; len(values) != 1 || values[0] != canary {
		t.Errorf("%q: a lenient parser sees %q", out, values)
	}
	// Some servers end the query at "#", as in an address that a browser shows.
	before, _, _ := strings.Cut(out, "#")
	if values := lenient(before)[in.Name()]; len(values) != 1 || values[0] != canary {
		t.Errorf("%q: a server that ends the query at # sees %q", out, values)
	}
}

var querySeeds = []string{
	"", "&", ";", "a", "a=1&b=2", "_bearer_token=junk&x=1;y=2&bad=%zz&_BEARER_TOKEN=x",
	"x=1;_bearer_token=evil", "%5Fbearer_token=x", "+_bearer_token[]=1", "_bearer_token;a&;&b",
	"_bearer_token%00=1&_bearer.token=2", "?_bearer_token", "a=1&&&_bearer_token=%zz;;;c", "_bearer%5ftoken%3dx=1",
	"[_bearer_token]=1&%u005Fbearer_token=2&%u00", "a=1#b", "#", "#_bearer_token=x&a",
}

func TestQueryProperty(t *testing.T) {
	parts := []string{"&", ";", "&&", "=", "a", "b=2", "%zz", "%", "+", "_bearer_token", "_BEARER_TOKEN=x",
		"%5Fbearer_token=y", " ", "[]", "[", "?", "%00", ".bearer_token", "\xff", "é", "#"}
	random := rand.New(rand.NewPCG(1, 2))
	for _, seed := range querySeeds {
		checkQuery(t, seed)
	}
	for range 20000 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		checkQuery(t, b.String())
	}
}

func FuzzQuery(f *testing.F) {
	for _, seed := range querySeeds {
		f.Add(seed)
	}
	f.Fuzz(checkQuery)
}

// A query that net/http's server accepts is passed on unchanged.
func TestQueryOverTheWire(t *testing.T) {
	seen := make(chan string, 1)
	protocols(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.URL.RawQuery }),
		func(t *testing.T, srv *httptest.Server, rt *Transport) {
			rt.Injection = queryInjection(t, "")
			req := get(t, srv.URL+"/x")
			req.URL.RawQuery = "_bearer_token=junk&x=1;y=2&bad=%zz&_BEARER_TOKEN=x"
			send(t, rt, req)
			if got, want := <-seen, "x=1;y=2&bad=%zz&_bearer_token="+canary; got != want {
				t.Errorf("upstream saw %q, want %q", got, want)
			}
		})
}
