package canary

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// world has the servers around the proxy: an authorization server, well-behaved and hostile, the
// API that the tokens are for, a host that must get no token, and a collector of traces.
type world struct {
	*secrets
	auth, api, outside, traces *httptest.Server

	// reached says that the slow token endpoint got a request. The endpoint answers after hungUp
	// says so.
	reached, hungUp chan struct{}
	// more counts the answers at /more whose connection the proxy has not closed yet.
	more sync.WaitGroup

	mu      sync.Mutex
	refused map[string]bool // access tokens that the API no longer accepts
	arrived map[string]int  // kind of credential -> requests at the API that carried it
	strayed strings.Builder // the requests to the host outside
	spans   strings.Builder
	pushed  string // the state of the last pushed authorization request
	echoes  int
	pending map[string]bool // device codes that were answered with authorization_pending
	key     string          // a private key in PEM
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{secrets: &secrets{kind: make(map[string]string)}, refused: make(map[string]bool),
		arrived: make(map[string]int), reached: make(chan struct{}), hungUp: make(chan struct{}),
		pending: make(map[string]bool)}
	w.key = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	serve := func(h http.HandlerFunc) *httptest.Server {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s
	}
	w.auth, w.api, w.outside, w.traces = serve(w.serveAuth), serve(w.serveAPI), serve(w.serveOutside), serve(w.serveTraces)
	return w
}

// serveAuth is the authorization server. It records the credentials that it gets and grants.
func (w *world) serveAuth(res http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body) // an incomplete body has no valid parameters
	form, _ := url.ParseQuery(string(body) + "&" + req.URL.RawQuery)
	for _, name := range []string{"client_secret", "refresh_token", "code", "code_verifier", "token", "device_code",
		"assertion"} {
		w.add(strings.ReplaceAll(name, "_", " "), form.Get(name))
	}
	for i, part := range strings.Split(form.Get("client_assertion"), ".") {
		if i > 0 { // the header is the same in all
			w.add("client assertion", part)
		}
	}
	if id, secret, ok := req.BasicAuth(); ok {
		w.add("basic", base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	}
	if assertion, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer "); ok {
		w.add("assertion", assertion)
	}
	w.add("dpop proof", req.Header.Get("DPoP"))
	tokenType := "Bearer"
	if req.Header.Get("DPoP") != "" {
		tokenType = "DPoP"
	}
	access, refresh := w.make("access token"), w.make("refresh token")
	res.Header().Set("Content-Type", "application/json")
	switch path, mode, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/"); path {
	case ".well-known":
		fmt.Fprintf(res, `{"issuer":%q,"token_endpoint":%q}`, w.auth.URL, w.auth.URL+"/token")
	case "device":
		code, user := w.make("device code"), w.make("user code")
		fmt.Fprintf(res,
			`{"device_code":%q,"user_code":%q,"verification_uri":%q,"verification_uri_complete":%q,"expires_in":600,"interval":1}`,
			code, user, w.auth.URL+"/activate", w.auth.URL+"/activate?user_code="+user)
	case "app":
		res.WriteHeader(http.StatusCreated)
		fmt.Fprintf(res, `{"token":%q,"expires_at":%q}`, access, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	case "denied":
		res.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(res, `{"error":"access_denied","error_description":%q}`, form.Get("device_code"))
	case "token":
		w.mu.Lock()
		first := form.Has("device_code") && !w.pending[form.Get("device_code")]
		w.pending[form.Get("device_code")] = true
		w.mu.Unlock()
		if first {
			res.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(res, `{"error":"authorization_pending","error_description":%q}`, form.Get("device_code"))
			return
		}
		fmt.Fprintf(res, `{"access_token":%q,"refresh_token":%q,"token_type":%q,"expires_in":3600,"scope":"read"}`, access,
			refresh, tokenType)
	case "par":
		w.mu.Lock()
		w.pushed = w.add("state", form.Get("state"))
		w.mu.Unlock()
		res.WriteHeader(http.StatusCreated)
		fmt.Fprintf(res, `{"request_uri":%q,"expires_in":60}`, "urn:"+w.make("request uri"))
	case "slow":
		w.reached <- struct{}{}
		<-w.hungUp
		fmt.Fprintf(res, `{"access_token":%q,"token_type":"Bearer"}`, access)
	case "revoke":
		if mode == "hostile" {
			http.Error(res, string(body), http.StatusBadRequest)
		}
	case "hostile":
		echo := strings.NewReplacer(`"`, "", `\`, "", "\n", "").Replace(string(body) + " " + form.Get("client_secret") + " " +
			form.Get("refresh_token") + " " + form.Get("code") + " " +
			req.Header.Get("Authorization") + " " + req.Header.Get("DPoP") + " " + access + " " + refresh)
		w.mu.Lock()
		w.echoes++
		w.mu.Unlock()
		hostile[mode](res, req, echo, access)
	default:
		http.NotFound(res, req)
	}
}

// hostile has the ways in which a token endpoint echoes a request.
var hostile = map[string]func(res http.ResponseWriter, req *http.Request, echo, access string){
	"error-code": func(res http.ResponseWriter, req *http.Request, _, _ string) {
		res.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(res, `{"error":%q}`, req.PostFormValue("client_secret"))
	},
	"description": func(res http.ResponseWriter, _ *http.Request, echo, _ string) {
		res.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(res, `{"error":"invalid_grant","error_description":%q,"error_uri":%q}`, echo, echo)
	},
	"challenge": func(res http.ResponseWriter, _ *http.Request, echo, _ string) {
		res.Header().Set("WWW-Authenticate", `Basic realm="`+echo+`"`)
		res.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(res, `{"error":"invalid_client","error_description":%q}`, echo)
	},
	"page": func(res http.ResponseWriter, _ *http.Request, echo, _ string) {
		res.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(res, "<html>%s</html>", echo)
	},
	"trouble": func(res http.ResponseWriter, _ *http.Request, echo, _ string) {
		http.Error(res, echo, http.StatusInternalServerError)
	},
	"later": func(res http.ResponseWriter, _ *http.Request, echo, _ string) {
		res.Header().Set("Retry-After", echo)
		http.Error(res, echo, http.StatusTooManyRequests)
	},
	"elsewhere": func(res http.ResponseWriter, _ *http.Request, echo, _ string) {
		res.Header().Set("Location", "http://127.0.0.1:1/?"+url.QueryEscape(echo))
		res.WriteHeader(http.StatusTemporaryRedirect)
	},
	"type": func(res http.ResponseWriter, _ *http.Request, echo, access string) {
		fmt.Fprintf(res, `{"access_token":%q,"token_type":%q}`, access, echo)
	},
	"line-break": func(res http.ResponseWriter, _ *http.Request, echo, access string) {
		fmt.Fprintf(res, `{"access_token":%q,"token_type":"Bearer"}`, access+"\r\nX: "+echo)
	},
	"scope": func(res http.ResponseWriter, _ *http.Request, echo, access string) {
		fmt.Fprintf(res, `{"access_token":%q,"token_type":"Bearer","scope":%q}`, access, echo)
	},
	"lifetime": func(res http.ResponseWriter, _ *http.Request, echo, access string) {
		fmt.Fprintf(res, `{"access_token":%q,"expires_in":%q}`, access, echo)
	},
	"half": func(res http.ResponseWriter, _ *http.Request, echo, _ string) {
		res.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(res, echo)
		panic(http.ErrAbortHandler)
	},
	"found-error": func(res http.ResponseWriter, _ *http.Request, echo, _ string) {
		fmt.Fprintf(res, `{"error":"unknown_thing","error_description":%q}`, echo)
	},
}

// serveAPI is the API that the tokens are for. The path selects the answer.
func (w *world) serveAPI(res http.ResponseWriter, req *http.Request) {
	token := strings.TrimPrefix(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), "DPoP ")
	w.add("dpop proof", req.Header.Get("DPoP"))
	if token == "" {
		token = req.URL.Query().Get("_bearer_token")
	}
	w.secrets.mu.Lock()
	kind := w.kind[token]
	w.secrets.mu.Unlock()
	w.mu.Lock()
	w.arrived[kind]++
	refused := w.refused[token]
	w.mu.Unlock()
	switch {
	case refused:
		res.WriteHeader(http.StatusUnauthorized)
	case req.URL.Path == "/revoked":
		w.mu.Lock()
		w.refused[token] = true
		w.mu.Unlock()
		res.WriteHeader(http.StatusUnauthorized)
	case req.URL.Path == "/proof":
		proof := req.Header.Get("DPoP")
		res.Header().Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof", error_description="`+proof+`"`)
		res.Header().Set("Location", "/?"+proof)
		res.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(res, proof)
	case req.URL.Path == "/redirect":
		http.Redirect(res, req, w.outside.URL+"/next?"+req.URL.RawQuery, http.StatusFound)
	case req.URL.Path == "/links":
		res.Header().Set("Content-Location", req.URL.String())
		res.Header().Set("Link", "<"+req.URL.String()+">; rel=next")
		res.Header().Set("Refresh", "5; url="+req.URL.String())
		res.Header().Set("Cache-Status", `api; key="`+req.URL.String()+`"`)
		res.Header().Set("Trailer", "X-Served")
		_, _ = io.WriteString(res, "linked")
		res.Header().Set("X-Served", req.URL.String())
	case req.URL.Path == "/more":
		w.more.Add(1)
		defer w.more.Done()
		conn, _, err := http.NewResponseController(res).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(moreTimeout))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 204 No Content\r\n\r\nmore: %s %s", req.RequestURI, token)
		_, _ = io.Copy(io.Discard, conn) // until the proxy has had enough
	case req.URL.Path == "/broken":
		conn, _, err := http.NewResponseController(res).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nbroken line %s %s\r\n\r\n", req.RequestURI, token)
	case req.URL.Path == "/abort":
		res.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(res, "half")
		panic(http.ErrAbortHandler)
	case req.URL.Path == "/trouble":
		res.WriteHeader(http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(res, "hello")
	}
}

// moreTimeout is how long the proxy may take to close a connection with data after the answer.
const moreTimeout = rig.Patience

// serveOutside is a host that must get no token.
func (w *world) serveOutside(_ http.ResponseWriter, req *http.Request) {
	dump, _ := httputil.DumpRequest(req, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.strayed.Write(dump)
}

func (w *world) serveTraces(_ http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spans.Write(body)
}
