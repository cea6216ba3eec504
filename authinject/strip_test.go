package authinject

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestIsCredential(t *testing.T) {
	for _, test := range []struct {
		in             Injection
		gone, forwards string
	}{
		{Injection{}, "Authorization authorization AUTHORIZATION Proxy-Authorization proxy_authorization Proxy.Authorization",
			"X-Api-Key X-Authorization Authorization-Info Authorizatio Cookie Accept"},
		{headerInjection(t, "X-Api-Key", ""), "Authorization X-Api-Key x-api-key X_Api_Key X.Api.Key x_API.kEY X-Api_Key",
			"X-Api-Keys Xx-Api-Key XApiKey X-Api1Key"},
		{headerInjection(t, "X_Api_Key", ""), "X-Api-Key X_Api_Key", "X-Api"},
		{Injection{StripHeader: []string{"X-Forwarded-Access-Token"}}, "Authorization X-Forwarded-Access-Token " +
			"x_forwarded_access_token", "X-Forwarded-For"},
		{queryInjection(t, ""), "Authorization", "X-Api-Key _bearer_token"},
	} {
		for key := range strings.FieldsSeq(test.gone) {
			if !test.in.isCredential(key) {
				t.Errorf("%s: %s passes", test.in, key)
			}
		}
		for key := range strings.FieldsSeq(test.forwards) {
			if test.in.isCredential(key) {
				t.Errorf("%s: %s is removed", test.in, key)
			}
		}
	}
}

// The request is the client's: only the copy has the token.
func TestRoundTripChangesNothingOfTheRequest(t *testing.T) {
	for name, in := range map[string]Injection{"header": {}, "query": queryInjection(t, "")} {
		t.Run(name, func(t *testing.T) {
			up := &upstream{}
			rt := newTransport(t, up, newSource(token(canary, 1)))
			rt.Injection = in
			req := get(t, "https://user:pass@api.example.com/?_bearer_token=x&a=1")
			req.Header = http.Header{"Authorization": {"Basic x", "Basic y"}, "Accept": {"a/b"},
				"Connection": {"authorization, close"}, "Cache-Control": {"max-age=1"}}
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader("body")), 4
			req.Trailer = http.Header{"Authorization": nil, "X-Sum": {"1"}}
			before, header, trailer, url := *req, req.Header.Clone(), req.Trailer.Clone(), *req.URL
			body := req.Body

			send(t, rt, req)
			req.Body = body
			after := *req
			if !maps.EqualFunc(after.Header, header, slices.Equal) || !maps.EqualFunc(after.Trailer, trailer, slices.Equal) {
				t.Errorf("header %v, trailer %v", after.Header, after.Trailer)
			}
			if *after.URL != url || after.URL != before.URL || after.Host != before.Host ||
				after.RequestURI != before.RequestURI {
				t.Errorf("URL %v", after.URL)
			}
			if sent := up.last(t); sent == req || sent.URL.User != nil {
				t.Errorf("sent with user %v", sent.URL.User)
			}
		})
	}
}

func TestPrivateHeader(t *testing.T) {
	in := headerInjection(t, "X-Api-Key", "")
	client := http.Header{
		"Authorization": {"Basic 1", "Basic 2"}, "X_Api_Key": {"evil"}, "x.api.key": {"evil"}, "X-Api-Key": {"evil"},
		"Accept": {"a", "b"}, "connection": {"close, x-api-key", "X_Api_Key,Upgrade,Authorization"},
	}
	want := http.Header{"Accept": {"a", "b"}, "connection": {"close, Upgrade"}}
	if got := in.privateHeader(client); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := in.privateHeader(http.Header{"Connection": {"x-api-key"}}); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
	if got := in.privateHeader(nil); got == nil {
		t.Error("no map to put the token into")
	}
}
