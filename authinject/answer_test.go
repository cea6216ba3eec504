package authinject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/authinject/caddy-authinject/internal/rig"
)

const odd = "canary/C+0123456789==" // in a query, this token is encoded

// placements are both ways to send the token.
func placements(t *testing.T) map[string]Injection {
	return map[string]Injection{"header": {}, "query": queryInjection(t, "")}
}

// If the HTTP client cannot parse an answer, it quotes the answer in its error, which servers log.
// If the answer repeats the request, the error must not hold the token.
func TestErrorsQuoteNoToken(t *testing.T) {
	for name, answer := range map[string]string{
		"a line":            "HTTP/1.1 200 OK\r\nbroken line ECHO\r\n\r\n",
		"a status":          "HTTP/1.1 ECHO OK\r\n\r\n",
		"a length":          "HTTP/1.1 200 OK\r\nContent-Length: ECHO\r\n\r\n",
		"an encoding":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: ECHO\r\n\r\n",
		"no HTTP":           "HTTP ECHO\r\n\r\n",
		"a trailer":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nbroken line ECHO\r\n\r\n",
		"a line of a later": "HTTP/1.1 103 Early Hints\r\nLink: ECHO\r\n\r\nHTTP/1.1 200 OK\r\nbroken line ECHO\r\n\r\n",
	} {
		for placement, in := range placements(t) {
			t.Run(name+", "+placement, func(t *testing.T) {
				overProtocol(t, http1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					_, _ = io.WriteString(conn, strings.ReplaceAll(answer, "ECHO",
						r.RequestURI+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
				}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
					rt.Injection, rt.Source = in, sourceOf(newSource(token(odd, 1)))
					res, err := rt.RoundTrip(get(t, srv.URL+"/a"))
					if err == nil {
						_, err = io.ReadAll(res.Body)
						_ = res.Body.Close()
					}
					if err == nil {
						t.Fatal("no error")
					}
					all := fmt.Sprintf("%s %v %+v %#v %q", err, err, err, err, err)
					rig.MustNotHold(t, "the error", all, odd, url.QueryEscape(odd), url.PathEscape(odd))
					if !strings.Contains(all, "REDACTED") {
						t.Errorf("nothing was echoed: %s", all)
					}
				})
			})
		}
	}
}

// A quotation escapes some characters. A token with such characters is found in it, too.
func TestErrorsQuoteNoTokenWithQuotes(t *testing.T) {
	const short = `a"b\c`
	if text := scrubError(fmt.Errorf("unexpected EOF behind %q", short),
		short).Error(); text != `unexpected EOF behind "REDACTED"` {
		t.Errorf("got %s", text)
	}
	const access = `ab"cd\ef"gh\ij"kl\mn"op`
	for _, sent := range []string{access, `another"cd\ef"gh\ij"kl\mn"op`} {
		text := scrubError(fmt.Errorf("malformed HTTP status code %q", sent), access).Error()
		for _, part := range []string{"ab", "cd", "ef", "gh", "ij", "kl", "mn", "another"} {
			if strings.Contains(text[strings.Index(text, `"`):], part) {
				t.Errorf("%q is in %s", part, text)
			}
		}
	}
}

// Bytes that cannot be parsed may be the rest of an earlier answer, with the token of another
// account. The error still shows that the connection speaks another protocol.
func TestErrorsQuoteNoOtherToken(t *testing.T) {
	const other = "canary-of-another-account"
	for answer, want := range map[string]string{
		"more: /a?_bearer_token=" + other +
			"\r\n\r\n": `malformed HTTP status code "REDACTED"`,
		"more:" + other + "\n":              `malformed HTTP response "REDACTED"`,
		"HTTP/" + other + " 200 OK\r\n\r\n": `malformed HTTP version "REDACTED"`,
		"HTTP/1.1 200 OK\r\n" + other +
			"\r\n\r\n": `malformed MIME header: missing colon: "REDACTED"`,
		"HTTP/1.1 200 OK\r\n a: " + other +
			"\r\n\r\n": `malformed MIME header initial line: " a: REDACTED"`,
		"HTTP/1.1 200 OK\r\nContent-Length: " + other + "\r\n\r\n": `bad Content-Length "REDACTED"`,
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: " + other +
			"\r\n\r\n": `multiple Content-Length headers; got ["1" "REDACTED"]`,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + other + "\r\n\r\n": `unsupported transfer encoding: "REDACTED"`,
		"\x15\x03\x01\x00\x02\x02\n":                                  `malformed HTTP response "\x15\x03\x01\x00\x02\x02"`,
		"220-ready\n":                                                 `malformed HTTP response "220-ready"`,
	} {
		t.Run(want, func(t *testing.T) {
			overProtocol(t, http1, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, answer)
			}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
				rt.Source = sourceOf(newSource(token(odd, 1)))
				_, err := rt.RoundTrip(get(t, srv.URL+"/a"))
				if err == nil || !strings.HasSuffix(err.Error(), want) {
					t.Errorf("%v, want …%s", err, want)
				}
			})
		})
	}
}

// The methods of the error by which servers decide what to do still return the same.
func TestErrorsKeepTheirMeaning(t *testing.T) {
	rt := newTransport(t, baseFunc(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("saw %s: %w", canary, context.DeadlineExceeded)
	}), newSource(token(canary, 1)))
	_, err := rt.RoundTrip(get(t, "https://api.example.com/"))
	var network net.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &network) || !network.Timeout() ||
		strings.Contains(err.Error(), canary) {
		t.Errorf("got %#v", err)
	}
	kind := &net.OpError{Op: "dial", Err: errors.New("to " + canary)}
	rt.Base = baseFunc(func(*http.Request) (*http.Response, error) { return nil, kind })
	_, err = rt.RoundTrip(get(t, "https://api.example.com/"))
	if op := new(net.OpError); !errors.As(err, &op) || strings.Contains(err.Error(), canary) {
		t.Errorf("got %#v", err)
	}
	reset := errors.New("connection reset")
	rt.Base = baseFunc(func(*http.Request) (*http.Response, error) { return nil, reset })
	if _, err := rt.RoundTrip(get(t, "https://api.example.com/")); err != reset {
		t.Errorf("got %v", err)
	}
	rt.Base = &upstream{answer: func(req *http.Request) *http.Response {
		res := respond(req, 200, nil)
		res.ContentLength, res.Body = -1, io.NopCloser(iotest.ErrReader(reset))
		return res
	}}
	res, err := rt.RoundTrip(get(t, "https://api.example.com/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err != reset {
		t.Errorf("reading the body: %v", err)
	}
}

// A token does not come back in any field, nor in a trailer, whether the trailer was declared or
// not.
func TestTokenDoesNotComeBackInAnyField(t *testing.T) {
	fields := []string{"Location", "Content-Location", "Link", "Refresh", "Cache-Status", "Set-Cookie",
		"Operation-Location", "X-Original-Url"}
	protocols(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		echo := `a; key="` + r.URL.String() + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + `"`
		for _, field := range fields {
			w.Header().Set(field, echo)
		}
		w.Header().Set("Trailer", "X-Declared")
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("X-Declared", echo)
		w.Header().Set(http.TrailerPrefix+"Location", echo)
	}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
		for placement, in := range placements(t) {
			rt.Injection, rt.Source = in, sourceOf(newSource(token(odd, 1)))
			res, body := send(t, rt, get(t, srv.URL+"/a"))
			want := map[string]string{"query": `a; key="/a?_bearer_token=REDACTED"`, "header": `a; key="/aREDACTED"`}[placement]
			for _, field := range fields {
				if got := res.Header.Get(field); got != want {
					t.Errorf("%s: %s: %q", placement, field, got)
				}
			}
			for _, field := range []string{"X-Declared", "Location"} {
				if got := res.Trailer.Get(field); got != want {
					t.Errorf("%s: trailer %s: %q", placement, field, got)
				}
			}
			if body != "body" {
				t.Errorf("%s: body %q", placement, body)
			}
		}
	})
}

// A token does not come back as the name of a field, in upper or lower case.
func TestTokenDoesNotComeBackAsAName(t *testing.T) {
	for _, access := range []string{"9f86d081884c7d659a2feaa0c55ad015", "canaryOfMixedCase"} {
		overProtocol(t, http1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			w.Header().Set("Trailer", "X-"+name)
			w.Header()[name] = []string{"1"}
			w.Header().Set("X-Of-"+name, "1")
			w.Header().Set("X-Other", "1")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-"+name, "1")
			w.Header()[http.TrailerPrefix+"Y-"+name] = []string{"1"}
			w.Header().Set(http.TrailerPrefix+"Z-Other", "1")
		}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
			rt.Source = sourceOf(newSource(token(access, 1)))
			res, err := rt.RoundTrip(get(t, srv.URL+"/a"))
			if err != nil {
				t.Fatal(err)
			}
			all := fmt.Sprint(res.Header, res.Trailer)
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			all += fmt.Sprint(res.Header, res.Trailer)
			rig.MustNotHold(t, "the answer", strings.ToLower(all), strings.ToLower(access))
			if res.Header.Get("X-Other") != "1" || res.Trailer.Get("Z-Other") != "1" {
				t.Errorf("other fields are gone: %s", all)
			}
		})
	}
}

// A token does not come back in the reason phrase, which is text of the upstream that handlers can
// read.
func TestTokenDoesNotComeBackAsAReason(t *testing.T) {
	for placement, in := range placements(t) {
		up := &upstream{answer: func(req *http.Request) *http.Response {
			res := respond(req, 200, nil)
			res.Status = "200 " + req.URL.String() + req.Header.Get("Authorization")
			return res
		}}
		rt := newTransport(t, up, newSource(token(canary, 1)))
		rt.Injection = in
		res, _ := send(t, rt, get(t, "https://api.example.com/"))
		if strings.Contains(res.Status, canary) || !strings.HasPrefix(res.Status, "200 https://") {
			t.Errorf("%s: %q", placement, res.Status)
		}
	}
}

// A token that is also an ordinary word is removed only from fields that contain URLs.
func TestShortQueryToken(t *testing.T) {
	up := &upstream{answer: func(req *http.Request) *http.Response {
		return respond(req, 200, http.Header{"Content-Type": {"text/plain"}, "Content-Location": {req.URL.String()}})
	}}
	rt := newTransport(t, up, newSource(token("text", 1)))
	rt.Injection = queryInjection(t, "")
	res, _ := send(t, rt, get(t, "https://api.example.com/"))
	if res.Header.Get("Content-Type") != "text/plain" ||
		res.Header.Get("Content-Location") != "https://api.example.com/?_bearer_token=REDACTED" {
		t.Errorf("%v", res.Header)
	}
}

// A connection that is switched to another protocol is passed on unchanged, except for the fields
// of the answer.
func TestTokenDoesNotComeBackInAnUpgrade(t *testing.T) {
	for placement, in := range placements(t) {
		up := &upstream{answer: func(req *http.Request) *http.Response {
			echo := req.URL.String() + strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
			res := respond(req, http.StatusSwitchingProtocols, http.Header{"Location": {echo}, "Upgrade": {"x"}})
			res.Body = &closer{Reader: strings.NewReader("tunnel")}
			return res
		}}
		rt := newTransport(t, up, newSource(token(canary, 1)))
		rt.Injection = in
		res, err := rt.RoundTrip(get(t, "https://api.example.com/"))
		if err != nil {
			t.Fatal(err)
		}
		rig.MustNotHold(t, placement, fmt.Sprint(res.Header), canary)
		if _, same := res.Body.(*closer); !same || res.Header.Get("Upgrade") != "x" || res.Header["Cache-Control"] != nil {
			t.Errorf("%s: %v, body %T", placement, res.Header, res.Body)
		}
	}
}

// The body of a redirect links to its target for people. If the link contains the token, the body
// is not passed on.
func TestRedirectBodyWithTheToken(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := "/elsewhere?" + r.URL.RawQuery
		w.Header().Set("Trailer", "X-Url")
		defer w.Header().Set("X-Url", r.URL.String())
		if r.URL.Path == "/other" {
			to = "/elsewhere"
		}
		if r.URL.Path == "/unchanged" {
			w.Header().Set("Location", to)
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if r.URL.Path == "/created" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "made")
			return
		}
		http.Redirect(w, r, to, http.StatusFound)
		_ = http.NewResponseController(w).Flush()
	})
	protocols(t, handler, func(t *testing.T, srv *httptest.Server, rt *Transport) {
		for _, test := range []struct {
			placement, method, path string
			body                    bool
		}{
			{"query", "GET", "/own", false}, {"query", "HEAD", "/own", false}, {"query", "GET", "/other", true},
			{"query", "GET", "/created", true},
			{"header", "GET", "/own", true},
		} {
			rt.Injection = placements(t)[test.placement]
			req := get(t, srv.URL+test.path+"?x=1")
			req.Method = test.method
			res, body := send(t, rt, req)
			rig.MustNotHold(t, test.path, body+fmt.Sprint(res.Header, res.Trailer), canary)
			empty := test.method == "GET" && !test.body
			if empty && len(res.Trailer) > 0 {
				t.Errorf("%+v: trailers %v, and no body", test, res.Trailer)
			}
			if (body != "") != test.body || empty && (res.Header.Get("Content-Length") != "0" || res.ContentLength != 0 ||
				res.Header["Content-Type"] != nil) {
				t.Errorf("%+v: body %q, %v", test, body, res.Header)
			}
			if !empty && (res.Header.Get("Content-Length") == "0" || res.Header["Content-Type"] == nil) &&
				test.path != "/created" {
				t.Errorf("%+v: fields are missing: %v", test, res.Header)
			}
			if res.Header.Get("Location") == "" {
				t.Errorf("%+v: no Location", test)
			}
		}
		rt.Injection = placements(t)["query"]
		if res, _ := send(t, rt, get(t, srv.URL+"/unchanged?x=1")); res.StatusCode != http.StatusNotModified ||
			res.Header.Get("Etag") != `"1"` || res.Header["Content-Length"] != nil {
			t.Errorf("304: %v", res.Header)
		}
	})
}

// Over HTTP/2, an answer without a body can have trailers, too. They are cleaned.
func TestTrailersOfAnAnswerWithoutABody(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Echo, Clear-Site-Data")
		w.WriteHeader(http.StatusNotModified)
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.Header().Set("Clear-Site-Data", `"*"`)
	})
	overProtocol(t, http2, handler, func(t *testing.T, srv *httptest.Server, rt *Transport) {
		rt.Browsers = &Browsers{AnyHost: true}
		res, _ := send(t, rt, get(t, srv.URL))
		if res.StatusCode != http.StatusNotModified || !strings.HasPrefix(res.Trailer.Get("X-Echo"), "Bearer ") ||
			strings.Contains(res.Trailer.Get("X-Echo"), canary) || res.Trailer.Get("Clear-Site-Data") != "" {
			t.Errorf("%d, trailers %q", res.StatusCode, res.Trailer)
		}
	})
}
