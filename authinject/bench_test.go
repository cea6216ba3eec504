package authinject

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// noop answers every request with the same status and does no other work.
type noop struct{ header http.Header }

func (n noop) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: n.header, Body: http.NoBody, Request: req}, nil
}

// live is a source that always has the same live token.
type live struct{ tok *tokensource.Token }

func (s live) Token(context.Context) (*tokensource.Token, error) { return s.tok, nil }
func (s live) Reject(context.Context, *tokensource.Token) (*tokensource.Token, error) {
	return nil, tokensource.ErrNoReplacement
}
func (s live) Refused(*tokensource.Token) bool { return true }

func benchRequest(tb testing.TB) *http.Request {
	req, err := http.NewRequest("GET", "https://api.example.com/v1/orders?page=2&per_page=50", nil)
	if err != nil {
		tb.Fatal(err)
	}
	for name, value := range map[string]string{
		"Accept": "application/json", "Accept-Encoding": "gzip", "Accept-Language": "en",
		"User-Agent": "legacy/1.0", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost",
		"X-Forwarded-Proto": "http", "Via": "1.1 Caddy", "Authorization": "Bearer of-the-client", "Cookie": "a=b",
	} {
		req.Header[name] = []string{value}
	}
	return req
}

func benchTransport(tb testing.TB, in Injection) *Transport {
	var source TokenSource = live{tokensource.NewToken("AT-0123456789abcdef", 1, time.Time{})}
	destinations, err := ParseDestinations("https://api.example.com")
	if err != nil {
		tb.Fatal(err)
	}
	return &Transport{
		// The answer already has private, so that only the work for the request is measured.
		Base:         noop{http.Header{"Cache-Control": {"private"}}},
		Source:       func(*http.Request) (TokenSource, error) { return source, nil },
		Destinations: destinations,
		Injection:    in,
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	query, err := QueryInjection("")
	if err != nil {
		b.Fatal(err)
	}
	for name, in := range map[string]Injection{"header": {}, "query": query} {
		b.Run(name, func(b *testing.B) {
			t, req := benchTransport(b, in), benchRequest(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := t.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("dpop", func(b *testing.B) {
		t, req := benchTransport(b, DPoPInjection()), benchRequest(b)
		var source TokenSource = live{tokensource.NewBoundToken("AT-0123456789abcdef", 1, time.Time{}, time.Now)}
		t.Source = func(*http.Request) (TokenSource, error) { return source, nil }
		b.ReportAllocs()
		for b.Loop() {
			if _, err := t.RoundTrip(req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hard-coded", func(b *testing.B) {
		t, req := hardCoded{noop{}}, benchRequest(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := t.RoundTrip(req); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// hardCoded does the least work that a transport with a fixed token can do.
type hardCoded struct{ base http.RoundTripper }

func (t hardCoded) RoundTrip(req *http.Request) (*http.Response, error) {
	out := *req
	out.Header = req.Header.Clone()
	out.Header.Set("Authorization", "Bearer AT-0123456789abcdef")
	return t.base.RoundTrip(&out)
}

// With a live token, a request allocates no more than with a hard-coded token.
func TestRoundTripAllocatesNoMoreThanAHardCodedToken(t *testing.T) {
	allocs := func(rt http.RoundTripper) float64 {
		req := benchRequest(t)
		return testing.AllocsPerRun(200, func() {
			if _, err := rt.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
		})
	}
	ours, least := allocs(benchTransport(t, Injection{})), allocs(hardCoded{noop{}})
	if ours > least {
		t.Errorf("RoundTrip allocates %.0f times, a hard-coded token %.0f times", ours, least)
	}
}
