package authinject

import (
	"maps"
	"net/http"
	"slices"
	"testing"
)

// RFC 9111 section 3.5: a shared cache stores the answer to an authorized request only if the
// upstream explicitly allows it. A cache in front of the proxy cannot know that the request was
// authorized.
func TestLimitCaches(t *testing.T) {
	type h = http.Header
	for _, test := range []struct {
		name             string
		in               h
		want, perAccount h
	}{
		{"nothing said", h{}, h{"Cache-Control": {"private"}}, h{"Cache-Control": {"private"}}},
		{"max-age", h{"Cache-Control": {"max-age=60"}}, h{"Cache-Control": {"max-age=60, private"}},
			h{"Cache-Control": {"private, max-age=60"}}},
		{"public", h{"Cache-Control": {"Public, max-age=60"}}, h{"Cache-Control": {"Public, max-age=60"}},
			h{"Cache-Control": {"private, max-age=60"}}},
		{"s-maxage", h{"Cache-Control": {"S-MaxAge=60"}}, h{"Cache-Control": {"S-MaxAge=60"}},
			h{"Cache-Control": {"private"}}},
		{"must-revalidate", h{"Cache-Control": {"max-age=0,must-revalidate"}},
			h{"Cache-Control": {"max-age=0,must-revalidate"}}, h{"Cache-Control": {"private, max-age=0, must-revalidate"}}},
		{"private", h{"Cache-Control": {"max-age=1, PRIVATE"}}, h{"Cache-Control": {"max-age=1, PRIVATE"}},
			h{"Cache-Control": {"max-age=1, PRIVATE"}}},
		{"no-store", h{"Cache-Control": {"no-store"}}, h{"Cache-Control": {"no-store"}},
			h{"Cache-Control": {"private, no-store"}}},
		{"private and public", h{"Cache-Control": {"private, public"}}, h{"Cache-Control": {"private, public"}},
			h{"Cache-Control": {"private"}}},
		{"private for fields", h{"Cache-Control": {`private="Set-Cookie, X"`}},
			h{"Cache-Control": {`private="Set-Cookie, X", private`}}, h{"Cache-Control": {"private"}}},
		{"in a quoted string", h{"Cache-Control": {`ext="public, s-maxage=1"`}},
			h{"Cache-Control": {`ext="public, s-maxage=1", private`}},
			h{"Cache-Control": {`private, ext="public, s-maxage=1"`}}},
		{"an escaped quote", h{"Cache-Control": {`ext="\", public, x"`}},
			h{"Cache-Control": {`ext="\", public, x", private`}}, h{"Cache-Control": {`private, ext="\", public, x"`}}},
		{"on another line", h{"Cache-Control": {"max-age=60", "public"}}, h{"Cache-Control": {"max-age=60", "public"}},
			h{"Cache-Control": {"private, max-age=60"}}},
		{"two lines", h{"Cache-Control": {"max-age=60", "no-transform"}},
			h{"Cache-Control": {"max-age=60, no-transform, private"}},
			h{"Cache-Control": {"private, max-age=60, no-transform"}}},
		{"not public", h{"Cache-Control": {"publicity, x-public"}}, h{"Cache-Control": {"publicity, x-public, private"}},
			h{"Cache-Control": {"private, publicity, x-public"}}},
		{"for a CDN, by RFC 9213", h{"Cdn-Cache-Control": {"max-age=60"}, "Cache-Control": {"private"}},
			h{"Cache-Control": {"private"}}, h{"Cache-Control": {"private"}}},
		{"for a CDN, public", h{"Cdn-Cache-Control": {"public, max-age=60"}, "Cache-Control": {"private"}},
			h{"Cdn-Cache-Control": {"public, max-age=60"}, "Cache-Control": {"private"}}, h{"Cache-Control": {"private"}}},
		{"for surrogates and nginx", h{"Surrogate-Control": {"max-age=60"}, "X-Accel-Expires": {"60"},
			"Edge-Control": {"cache-maxage=1d"}, "Cloudflare-Cdn-Cache-Control": {"max-age=1"}}, h{"Cache-Control": {"private"}},
			h{"Cache-Control": {"private"}}},
	} {
		for perAccount, want := range map[bool]h{false: test.want, true: test.perAccount} {
			got := test.in.Clone()
			x := exchange{t: &Transport{PerAccount: perAccount}}
			x.t.cleanAnswer(got, "", true)
			x.limitCaches(got)
			if !maps.EqualFunc(got, want, slices.Equal) {
				t.Errorf("%s, per account %t: %v, want %v", test.name, perAccount, got, want)
			}
		}
	}
}

// Only answers to requests with a token are changed, and no 101.
func TestCachesOfOtherAnswers(t *testing.T) {
	for _, test := range []struct {
		name       string
		status     int
		skip       bool
		perAccount bool
		want       string
	}{
		{"with a token", 200, false, false, "max-age=60, private"},
		{"with an account's token", 200, false, true, "private, max-age=60"},
		{"an error", 500, false, false, "max-age=60, private"},
		{"not modified", 304, false, false, "max-age=60, private"},
		{"without a token", 200, true, true, "max-age=60"},
		{"switching protocols", 101, false, true, "max-age=60"},
	} {
		up := &upstream{answer: func(req *http.Request) *http.Response {
			return respond(req, test.status, http.Header{"Cache-Control": {"max-age=60"}})
		}}
		rt := newTransport(t, up, newSource(token(canary, 1)))
		rt.PerAccount = test.perAccount
		rt.HealthCheck = func(*http.Request) bool { return test.skip }
		res, _ := send(t, rt, get(t, "https://api.example.com/"))
		if got := res.Header.Get("Cache-Control"); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
