package tokensource_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// elsewhere lists the problems that tests in other packages produce, with those packages.
var elsewhere = map[string]string{
	"destination": "authinject", "destination_insecure": "authinject", "token_refused": "caddy", "value": "caddy",
	"login_refused":  "caddy",
	"scopes_missing": "caddy", "clock": "facts_test.go", "shared_address": "caddy", "unused_source": "caddy",
	"upstream_variable": "caddy", "variable": "caddy", "insufficient_scope": "caddy",
	"storage_login": "storage_failure_test.go", "token_lost": "storage_failure_test.go", "disconnection_lost": "storage_failure_test.go",
	"provider_wait": "waits_test.go", "replacement_refused": "reject_test.go", "refused_often": "reject_test.go",
	"google_metadata": "grants/google", "google_account": "grants/google", "google_scope": "grants/google",
	"google_impersonation": "grants/google",
	"google_credentials":   "grants/google",
	"azure_metadata":       "grants/azure", "azure_identity": "grants/azure", "azure_federation": "grants/azure",
	"azure_environment": "grants/azure",
	"dpop_nonce_body":   "authinject",
}

// broken is a transport that fails with err.
type broken struct{ err error }

func (b broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.err }

// asked returns the error of a source whose token endpoint always gives the same answer.
func asked(r reply, edits ...func(*tokensource.Config)) func(t *testing.T) error {
	return func(t *testing.T) error {
		ep := &endpoint{}
		ep.set(always(r))
		_, err := newSource(t, ep, edits...).Token(context.Background())
		return err
	}
}

func failingWith(err error) func(t *testing.T) error {
	return func(t *testing.T) error {
		_, err := newSource(t, broken{err}).Token(context.Background())
		return err
	}
}

// upstreamFails returns the error of a source whose upstream cannot be reached for that reason.
func upstreamFails(err error) func(t *testing.T) error {
	return func(*testing.T) error {
		return tokensource.UpstreamFailure("orders", "https://api.example.com:8443", err)
	}
}

// Only a connection that was not made is a failure of the upstream. A proxy in between is not the
// upstream.
func TestUpstreamFailure(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"reset":            {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "wait upstream_connection_broke"},
		"no HTTP":          {errors.New(`malformed HTTP response "\x15"`), "wait upstream_connection_broke"},
		"write fails":      {&net.OpError{Op: "write", Err: syscall.EPIPE}, ""},
		"no answer":        {context.DeadlineExceeded, ""},
		"client gone":      {context.Canceled, ""},
		"dial timeout":     {&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, "wait upstream_unreachable"},
		"socket not there": {&net.OpError{Op: "dial", Net: "unix", Err: syscall.ENOENT}, "wait upstream_unreachable"},
		"proxy refuses":    {&net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED}, "wait upstream_unreachable"},
		"DNS silent":       {&net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}}, "wait upstream_unknown_host"},
	} {
		got := ""
		if e := tokensource.UpstreamFailure("orders", "unix//run/api.sock", c.err); e != nil {
			got = string(e.Class) + " " + e.Problem()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// inStorage returns the error of a source whose storage fails, or contains something other than its
// record.
func inStorage(storage tokensource.Storage, edits ...func(*tokensource.Config)) func(t *testing.T) error {
	return func(t *testing.T) error {
		ep := &endpoint{}
		ep.set(always(rotated(1, time.Hour)))
		_, err := newSource(t, ep, append([]func(*tokensource.Config){refreshing(storage, "seed")},
			edits...)...).Token(context.Background())
		return err
	}
}

// holding is a storage with the same text under every key.
type holding struct {
	tokensource.MemoryStorage
	text string
}

func (h *holding) Load(context.Context, string) ([]byte, error) { return []byte(h.text), nil }

// denied returns the error of a login that the provider refused with code.
func denied(code string) func(t *testing.T) error {
	return func(t *testing.T) error {
		src := newSource(t, &endpoint{}, logins)
		l, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{RedirectURL: "https://b.example/"})
		if err != nil {
			return err
		}
		return src.FinishLogin(t.Context(), l, url.Values{"error": {code}, "state": {l.State.Reveal()}})
	}
}

func logins(cfg *tokensource.Config) {
	cfg.Grant, cfg.AuthorizeURL = tokensource.AuthorizationCode{}, "https://login.example.com/authorize"
}

// metadataOf returns the error of a source whose issuer publishes body at its well-known URLs.
func metadataOf(status int, body string) func(t *testing.T) error {
	return func(t *testing.T) error {
		_, err := newSource(t, published{status, body}, func(cfg *tokensource.Config) {
			cfg.TokenURL, cfg.Issuer = "", "https://login.example.com"
		}).Token(t.Context())
		return err
	}
}

// published is a transport that gives one answer to every request.
type published struct {
	status int
	body   string
}

func (p published) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: p.status, Body: io.NopCloser(strings.NewReader(p.body)), Request: req}, nil
}

func config(edit func(*tokensource.Config)) func(t *testing.T) error {
	return asked(granted(1, time.Hour), edit)
}

// provoked says how to produce each problem.
var provoked = map[string]func(t *testing.T) error{
	"invalid_client":            asked(refused(401, "invalid_client")),
	"invalid_request":           asked(refused(400, "invalid_request")),
	"invalid_scope":             asked(refused(400, "invalid_scope")),
	"unauthorized_client":       asked(refused(400, "unauthorized_client")),
	"unsupported_grant_type":    asked(refused(400, "unsupported_grant_type")),
	"access_denied":             asked(refused(403, "access_denied")),
	"invalid_target":            asked(refused(400, "invalid_target")),
	"invalid_redirect_uri":      asked(refused(400, "invalid_redirect_uri")),
	"unsupported_response_type": denied("unsupported_response_type"),
	"login_request":             denied("invalid_request"),
	"login_denied":              denied("access_denied"),
	"invalid_request_uri":       denied("invalid_request_uri"),
	"invalid_dpop_proof":        asked(refused(400, "invalid_dpop_proof"), withDPoP),
	"use_dpop_nonce":            asked(refused(400, "use_dpop_nonce"), withDPoP),
	"dpop_alg": func(t *testing.T) error {
		body := `{"issuer":"https://login.example.com","token_endpoint":"` + tokenURL +
			`","dpop_signing_alg_values_supported":["RS256"]}`
		_, err := newSource(t, published{200, body}, withDPoP, func(cfg *tokensource.Config) {
			cfg.TokenURL, cfg.Issuer = "", "https://login.example.com"
		}).Token(t.Context())
		return err
	},
	"not_bound": asked(granted(1, time.Hour), withDPoP),
	"request_uri": func(t *testing.T) error {
		src := newSource(t, &endpoint{}, pushing)
		_, err := src.LoginLink(t.Context(), begin(t, src, inBrowser))
		return err
	},
	"redirect":          asked(reply{status: 302, header: http.Header{"Location": {"https://elsewhere.example/"}}}),
	"no_token_endpoint": asked(reply{status: 404}),
	"not_oauth":         asked(reply{status: 401}),
	"not_a_token":       asked(reply{status: 200, body: "<!DOCTYPE html><title>Welcome</title>"}),
	"zero_lifetime": asked(reply{status: 200,
		body: `{"access_token":"at1","token_type":"Bearer","expires_in":0}`}),
	"expired_answer": asked(reply{status: 200,
		body: `{"access_token":"at1","token_type":"Bearer","expires_in":-1}`}),
	"token_type":             asked(reply{status: 200, body: `{"access_token":"at1","token_type":"opaque"}`}),
	"token_type_unsupported": asked(reply{status: 200, body: `{"access_token":"at1","token_type":"mac"}`}),
	"unusable_token":         asked(reply{status: 200, body: `{"access_token":"at 1","token_type":"Bearer"}`}),
	"upstream_unknown_host":  upstreamFails(&net.DNSError{IsNotFound: true}),
	"upstream_refused":       upstreamFails(syscall.ECONNREFUSED),
	"upstream_unreachable":   upstreamFails(&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}),
	"upstream_no_tls":        upstreamFails(tls.RecordHeaderError{}),

	"upstream_connection_broke": upstreamFails(io.EOF),

	"upstream_unknown_authority": upstreamFails(&tls.CertificateVerificationError{
		UnverifiedCertificates: []*x509.Certificate{{Issuer: pkix.Name{CommonName: "Acme CA"}}},
		Err:                    x509.UnknownAuthorityError{},
	}),
	"upstream_other_host":       upstreamFails(x509.HostnameError{Certificate: new(x509.Certificate)}),
	"upstream_certificate_time": upstreamFails(x509.CertificateInvalidError{Reason: x509.Expired}),
	"upstream_client_certificate": upstreamFails(&net.OpError{Op: "remote error",
		Err: errors.New("tls: bad certificate")}),

	"unknown_host":     failingWith(&net.DNSError{IsNotFound: true}),
	"unreachable":      failingWith(errors.New("network is unreachable")),
	"timeout":          failingWith(context.DeadlineExceeded),
	"no_tls":           failingWith(tls.RecordHeaderError{}),
	"connection_broke": asked(reply{err: io.EOF}),
	"rate_limited":     asked(reply{status: 429}),
	"provider_trouble": asked(reply{status: 503}),
	"connection_refused": func(t *testing.T) error {
		closed := httptest.NewServer(nil)
		closed.Close()
		_, err := newSource(t, nil, func(cfg *tokensource.Config) { cfg.TokenURL = closed.URL }).Token(t.Context())
		return err
	},
	"unknown_authority": func(t *testing.T) error { return atServer(t, "127.0.0.1", time.Time{}) },
	"other_host":        func(t *testing.T) error { return atServer(t, "localhost", time.Time{}) },
	"certificate_time": func(t *testing.T) error {
		return atServer(t, "127.0.0.1", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	},
	"locked_out": asked(reply{status: 400, body: `{"error":"invalid_grant","code":"locked"}`},
		func(cfg *tokensource.Config) {
			cfg.LockOut.Member, cfg.LockOut.Code, cfg.LockOut.MinWait = "code", "locked", time.Minute
		}),
	"client_secret": config(func(cfg *tokensource.Config) {
		cfg.ClientSecrets = []tokensource.Value{tokensource.Literal("")}
	}),
	"client_assertion_refused": asked(refused(401, "invalid_client"), signing(testKey(0))),
	"request_refused":          asked(refused(400, "invalid_grant")),
	"client_assertion_used":    asked(refused(400, "jti_known"), asserting("a.e30.c")),
	"client_assertion_expired": asked(refused(401, "invalid_client"), asserting(expiredAssertion)),
	"assertion_refused":        asked(refused(400, "invalid_grant"), bearing(nil)),
	"no_installation":          asked(reply{status: 404, body: `{"message":"Not Found"}`}, githubApp(nil)),
	"beyond_installation":      asked(reply{status: 422, body: `{"message":"no"}`}, githubApp(nil)),
	"grant_key": asked(reply{}, bearing(func(g *tokensource.JWTBearer) {
		g.Key = tokensource.Literal("no key")
	})),
	"client_key":       asked(refused(401, "invalid_client"), signing("no key")),
	"client_assertion": asked(refused(401, "invalid_client"), asserting("no JWT")),
	// A real server may close the connection before its alert is read; see TestRefusedCertificate.
	"client_certificate": failingWith(&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}),
	"token_expired": config(func(cfg *tokensource.Config) {
		cfg.Grant = tokensource.Static{Token: tokensource.Literal("t"), Expires: time.Unix(1, 0)}
	}),
	"token_ended": func(t *testing.T) error {
		src := newSource(t, nil, func(cfg *tokensource.Config) {
			cfg.Grant = tokensource.Static{Token: tokensource.Literal("eyJhbGciOiJub25lIn0.eyJleHAiOjE1MDAwMDAwMDB9.c2ln")}
		})
		mustToken(t, src)
		return src.Account("").Status().Ended()
	},
	"token_empty": config(func(cfg *tokensource.Config) {
		cfg.Grant = tokensource.Static{Token: tokensource.Literal("")}
	}),
	"token_param_twice": config(func(cfg *tokensource.Config) {
		cfg.Grant, cfg.Params = withParam{}, []tokensource.Param{{Name: "device", Value: tokensource.Literal("x")}}
	}),
	"token_url_query": config(func(cfg *tokensource.Config) {
		cfg.TokenURL, cfg.BodyFormat = tokenURL+"?grant_type=x", tokensource.BodyQuery
	}),
	"issuer_metadata": metadataOf(404, ""),
	"issuer_name":     metadataOf(200, `{"issuer":"https://login.example.com/"}`),
	"issuer_endpoint": metadataOf(200, `{"issuer":"https://login.example.com"}`),

	"storage_unwritable": func(t *testing.T) error {
		storage := &steps{}
		storage.fail(nil, errors.New("read-only file system"))
		return inStorage(storage)(t)
	},
	"storage_unreadable": func(t *testing.T) error {
		storage := &steps{}
		storage.fail(errors.New("connection lost"), nil)
		return inStorage(storage)(t)
	},
	"record_damaged": inStorage(&holding{text: "{"}),
	"record_newer":   inStorage(&holding{text: `{"version":1000}`}),
	"record_sealed": func(t *testing.T) error {
		storage := new(tokensource.MemoryStorage)
		if err := inStorage(storage, func(cfg *tokensource.Config) {
			cfg.EncryptionKeys = []tokensource.Value{tokensource.Literal(strings.Repeat("key ", 10))}
		})(t); err != nil {
			return err
		}
		return inStorage(storage)(t)
	},
	"encryption_key": inStorage(new(tokensource.MemoryStorage), func(cfg *tokensource.Config) {
		cfg.EncryptionKeys = []tokensource.Value{tokensource.Literal("short")}
	}),
	"panic": func(t *testing.T) error {
		return inStorage(nil, func(cfg *tokensource.Config) { cfg.Grant = panicking{} })(t)
	},
	"not_connected": config(logins),
	"no_refresh_token": func(t *testing.T) error {
		ep := &endpoint{}
		ep.set(always(granted(1, time.Hour)))
		src := newSource(t, ep, logins)
		l, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{RedirectURL: "https://b.example/"})
		if err == nil {
			err = src.FinishLogin(t.Context(), l, url.Values{"code": {"c"}, "state": {l.State.Reveal()}})
		}
		if err != nil {
			return err
		}
		return src.Account("").Refresh(t.Context())
	},
	"subject_missing": exchangedBy("", granted(1, time.Hour)),
	"subject_ended":   exchangedBy(jwtOf(`{"exp":1000}`), granted(1, time.Hour)),
	"subject_refused": exchangedBy("ada", refused(400, "invalid_grant")),
	"no_account": func(*testing.T) error {
		return tokensource.NoAccount("orders", "the placeholder", "log in")
	},
	"no_caller": asked(granted(1, time.Hour), exchanging(tokensource.TokenExchange{})),
	"actor_token": func(t *testing.T) error {
		_, err := exchanged(newSource(t, exchanger(), exchanging(tokensource.TokenExchange{
			ActorToken: tokensource.Literal(""), ActorTokenType: tokensource.AccessTokenType,
		})), "ada")
		return err
	},
	"person_required": func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) {
			_, err = newSource(t, &endpoint{script: always(refused(400, "interaction_required"))},
				refreshing(new(tokensource.MemoryStorage), "rt0")).Token(t.Context())
		})
		return err
	},
	"grant_ended": func(t *testing.T) (err error) {
		synctest.Test(t, func(t *testing.T) {
			err = asked(refused(400, "invalid_grant"), refreshing(new(tokensource.MemoryStorage), "seed"))(t)
		})
		return err
	},
}

// exchangedBy is a request of a caller with that token.
func exchangedBy(subject string, answer reply) func(t *testing.T) error {
	return func(t *testing.T) error {
		_, err := exchanged(newSource(t, &endpoint{script: always(answer)}, exchanging(tokensource.TokenExchange{})), subject)
		return err
	}
}

type panicking struct{}

func (panicking) Traits() tokensource.Traits { return tokensource.Traits{} }
func (panicking) Next(context.Context, *tokensource.Record) (tokensource.Request, error) {
	panic("a bug")
}

// atServer connects to a server whose certificate comes from its own authority, by the name host.
// now is the client's time.
func atServer(t *testing.T, host string, now time.Time) error {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Time: func() time.Time { return now }}}
	if now.IsZero() {
		transport.TLSClientConfig.Time = nil
	}
	if host != "127.0.0.1" || !now.IsZero() {
		transport.TLSClientConfig.RootCAs = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	}
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	_, err := newSource(t, transport, func(cfg *tokensource.Config) {
		cfg.TokenURL = "https://" + net.JoinHostPort(host, port)
	}).Token(t.Context())
	return err
}

// Every row of the table matches an error of its own. The error's text is the documented one, and
// it says what to do.
func TestEveryProblemHasItsRemedy(t *testing.T) {
	for _, r := range tokensource.Remedies() {
		provoke, known := provoked[r.Problem]
		if !known && elsewhere[r.Problem] == "" {
			t.Errorf("no test makes the problem %s", r.Problem)
		}
		if provoke == nil {
			continue
		}
		t.Run(r.Problem, func(t *testing.T) {
			err := provoke(t)
			var e *tokensource.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			t.Log(err)
			if x := e.Explain(); x != (tokensource.Explanation{Text: e.Error(), Problem: e.Problem(), Remedy: e.Remedy()}) {
				t.Errorf("explained as %+v", x)
			}
			if !strings.Contains(err.Error(), r.Text) || e.Class != r.Class || e.Problem() != r.Problem {
				t.Errorf("got class %s, problem %s, text\n%v\nwant class %s, problem %s, text\n%s", e.Class, e.Problem(), err,
					r.Class, r.Problem, r.Text)
			}
			if e.Remedy() == "" || strings.ContainsAny(e.Remedy(), "[]{}") {
				t.Errorf("the remedy is %q", e.Remedy())
			}
			if e.Class == tokensource.ClassOperator && !strings.HasSuffix(err.Error(), e.Remedy()) &&
				!strings.Contains(err.Error(), "if this provider means") {
				t.Errorf("the error does not end with the remedy %q:\n%v", e.Remedy(), err)
			}
		})
	}
}

// The remedy contains the values of the configuration.
func TestRemedyHasTheConfiguration(t *testing.T) {
	for problem, want := range map[string]string{
		"invalid_client": `token source "orders": the token endpoint answered 401 invalid_client: ` +
			`check client_id, client_secret and client_auth (now client_secret_basic)`,
		"unknown_host":      `token source "orders": the token endpoint's name could not be resolved: check the host login.example.com in token_url, and this machine's DNS`,
		"unknown_authority": `the token endpoint's certificate is not trusted: let the source trust the authority "Acme Co"`,
		"certificate_time":  `check this machine's clock (now 20`,

		"upstream_unknown_host":      `token source "orders": the upstream's name could not be resolved: check the host api.example.com of the upstream`,
		"upstream_unknown_authority": `trust the authority "Acme CA" that issued it. Write the line tls_trust_pool`,
	} {
		if err := provoked[problem](t); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// The provider's text is only for an operator who asks for it. It contains nothing that was sent,
// and no text of the error contains it.
func TestProviderSaid(t *testing.T) {
	const secret = "s3cr3t-canary-Zq81"
	forms := map[string]string{
		"as it is": secret, "in capitals": strings.ToUpper(secret), "in quotes": `"` + secret + `"`,
		"base64":    base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64url": base64.RawURLEncoding.EncodeToString([]byte("x" + secret)),
		"as Basic":  base64.StdEncoding.EncodeToString([]byte("orders-client:" + secret)),
		"hex":       hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"percent": url.QueryEscape(secret + "&"), "a part": secret[:8], "the end": "***" + secret[8:],
		"cut up": strings.Join(strings.Split(secret, ""), " "), "in a URL": "https://a.example/?client_secret=" + secret,
		"the client's id": "orders-client", "in JSON": `{"client_secret":"` + secret + `"}`,
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			said := "The scheme must be post " + form + " not basic\x00\u202e\n" + strings.Repeat("and more ", 100)
			body, _ := json.Marshal(map[string]string{"error": "invalid_client", "error_description": said})
			err := asked(reply{status: 401, body: string(body)}, func(cfg *tokensource.Config) {
				cfg.ClientSecrets = []tokensource.Value{tokensource.Literal(secret)}
			})(t)
			var e *tokensource.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			got := e.ProviderSaid()
			if name != "cut up" && !strings.HasPrefix(got, "The scheme must be post REDACTED not basic and more") {
				t.Errorf("got %q", got)
			}
			for kind, form := range forms {
				if strings.Contains(strings.ToLower(got), strings.ToLower(form)) {
					t.Errorf("%q holds the secret %s", got, kind)
				}
			}
			if strings.ContainsAny(got, "\x00\n\u202e") || len([]rune(got)) > 301 {
				t.Errorf("%d characters: %q", len([]rune(got)), got)
			}
			encoded, _ := json.Marshal(e)
			for _, text := range []string{err.Error(), fmt.Sprintf("%v %+v %#v", e, *e, *e), string(encoded)} {
				if strings.Contains(text, "The scheme") || strings.Contains(text, "canary") {
					t.Errorf("the error holds the provider's text: %s", text)
				}
			}
		})
	}
}

// A provider that grants a token of a million letters and refuses all the same costs no time.
func TestProviderSaidBesideALongToken(t *testing.T) {
	err := asked(reply{status: 400, body: `{"error":"invalid_request","error_description":"` +
		strings.Repeat("abc ", 1000) +
		`","refresh_token":"` + strings.Repeat("a", 1<<19) + `"}`})(t)
	var e *tokensource.Error
	if !errors.As(err, &e) || e.ProviderSaid() != "REDACTED" {
		t.Errorf("got %.40q of %v", e.ProviderSaid(), err)
	}
}

// The configured scopes are kept in what the provider says, and nothing that only holds one.
func TestProviderSaysWhichScope(t *testing.T) {
	const scope = "https://api.example.com/auth/orders.read-2024"
	err := asked(reply{status: 400, body: `{"error":"invalid_scope","error_description":"unknown: '` + scope + `', ` +
		scope + `x"}`}, func(cfg *tokensource.Config) {
		cfg.Scopes = []string{scope}
	})(t)
	var e *tokensource.Error
	if !errors.As(err, &e) || e.ProviderSaid() != "unknown: '"+scope+"', REDACTED" {
		t.Errorf("got %q", e.ProviderSaid())
	}
}

// A short secret in the middle of what was encoded shares no letters with its own code.
func TestProviderSaidInTheMiddle(t *testing.T) {
	const secret = "Kq-zzTWu"
	for _, form := range []string{base64.RawStdEncoding.EncodeToString([]byte("a:" + secret)),
		strings.ReplaceAll(url.QueryEscape("-"+secret), "K", "%4B")} {
		err := asked(reply{status: 401, body: `{"error":"invalid_client","error_description":"not ` + form + ` here"}`},
			func(cfg *tokensource.Config) {
				cfg.ClientSecrets = []tokensource.Value{tokensource.Literal(secret)}
			})(t)
		var e *tokensource.Error
		if !errors.As(err, &e) || e.ProviderSaid() != "not REDACTED here" {
			t.Errorf("%s gives %q", form, e.ProviderSaid())
		}
	}
}

// An error of class login leaves it to others to say where to log in, also if its code is one that
// an operator mends elsewhere.
func TestErrorOfALoginHasNoRemedy(t *testing.T) {
	e := &tokensource.Error{Source: "a", Class: tokensource.ClassLogin, Reason: "the provider refused the login",
		Code: "invalid_scope"}
	if e.Error() != `token source "a": the provider refused the login, error invalid_scope` || e.Remedy() == "" {
		t.Errorf("%v; %q", e, e.Remedy())
	}
}

// Ordinary words stay in the provider's text.
func TestProviderSaidPlainly(t *testing.T) {
	const said = "Client authentication failed: Basic is not the raw id:secret (code 17), grant_type refresh_token."
	err := asked(reply{status: 400, body: `{"error":"invalid_request","error_description":"` + said + `"}`},
		func(cfg *tokensource.Config) {
			cfg.ClientSecrets = []tokensource.Value{tokensource.Literal("Kq81-zzTW")}
		})(t)
	var e *tokensource.Error
	if !errors.As(err, &e) || e.ProviderSaid() != said {
		t.Errorf("got %q of %v", e.ProviderSaid(), err)
	}
}

// Without another credential in the request, invalid_grant means the JWT that proves the client.
// With a refresh token, it means that one.
func TestInvalidGrantMeansTheAssertion(t *testing.T) {
	for name, c := range map[string]struct {
		edits []func(*tokensource.Config)
		want  string
	}{
		"client_credentials": {[]func(*tokensource.Config){signing(testKey(0))}, "client_assertion_refused"},
		"refresh_token": {[]func(*tokensource.Config){signing(testKey(0)), func(cfg *tokensource.Config) {
			cfg.Grant = tokensource.RefreshToken{Initial: tokensource.Literal("r")}
		}}, "grant_ended"},
	} {
		t.Run(name, func(t *testing.T) {
			err := asked(refused(400, "invalid_grant"), c.edits...)(t)
			failure, ok := errors.AsType[*tokensource.Error](err)
			if !ok || failure.Problem() != c.want {
				t.Errorf("%v: want the problem %s", err, c.want)
			}
		})
	}
}

// A server that speaks TLS ends a connection without it. Only for a URL without TLS, the remedy says
// so.
func TestTheRemedyNamesTLS(t *testing.T) {
	for tokenURL, want := range map[string]bool{"http://127.0.0.1:1/token": true, "https://127.0.0.1:1/token": false} {
		err := asked(reply{err: io.EOF}, func(cfg *tokensource.Config) { cfg.TokenURL = tokenURL })(t)
		if got := strings.Contains(err.Error(), "speaks TLS at this port, write https://"); got != want {
			t.Errorf("%s: %v", tokenURL, err)
		}
	}
}

// A provider that refuses a request as malformed often wants the secret in another place.
func TestRemedyOfAnInvalidRequest(t *testing.T) {
	for auth, want := range map[tokensource.ClientAuth]string{
		tokensource.ClientSecretBasic: "try client_auth client_secret_post",
		tokensource.ClientSecretPost:  "try client_auth client_secret_basic",
		tokensource.ClientAuthNone:    "",
	} {
		src := newSource(t, &endpoint{script: always(refused(http.StatusBadRequest, "invalid_request"))},
			func(cfg *tokensource.Config) {
				if cfg.ClientAuth = auth; auth == tokensource.ClientAuthNone {
					cfg.ClientSecrets = nil
				}
			})
		_, err := src.Token(t.Context())
		if e := asError(t, err, tokensource.ClassOperator); !strings.Contains(e.Remedy(), want) ||
			strings.Contains(e.Remedy(), "try client_auth") != (want != "") {
			t.Errorf("%s: %s", auth, e.Remedy())
		}
	}
}
