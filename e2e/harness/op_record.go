package harness

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"
)

// recordTokens records the requests to the token endpoint and the tokens that it issues.
func (p *Provider) recordTokens(next http.Handler) http.Handler {
	record := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := time.Now()
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		var answer struct {
			AccessToken string `json:"access_token"`
			ExpiresIn   int64  `json:"expires_in"`
		}
		if json.Unmarshal(rec.Body.Bytes(), &answer) == nil && answer.AccessToken != "" {
			p.mu.Lock()
			p.tokens[answer.AccessToken] = issued{expires: asked.Add(time.Duration(answer.ExpiresIn) * time.Second)}
			p.mu.Unlock()
		}
		replay(w, rec)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form := readForm(r)
		p.mu.Lock()
		i := len(p.requests)
		p.requests = append(p.requests, TokenRequest{
			Time:   time.Now(),
			Grant:  form.Get("grant_type"),
			Header: r.Header.Clone(),
			Form:   form,
		})
		h := http.Handler(record)
		if p.fault != nil {
			h = p.fault(h)
		}
		p.mu.Unlock()

		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			p.mu.Lock()
			p.requests[i].Status = sw.status
			p.mu.Unlock()
		}()
		h.ServeHTTP(sw, r)
	})
}

// recordRevocations makes access tokens that a client revokes no longer live.
func (p *Provider) recordRevocations(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := readForm(r).Get("token")
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		p.mu.Lock()
		if is, ok := p.tokens[token]; ok && rec.Code == http.StatusOK {
			is.revoked = true
			p.tokens[token] = is
		}
		p.mu.Unlock()
		replay(w, rec)
	})
}

// readForm parses the request's body, and leaves the body so that it can be read again.
func readForm(r *http.Request) url.Values {
	body, _ := io.ReadAll(r.Body) // if the body is incomplete, the provider refuses it
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	return form
}

func replay(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection, so that a fault can cut it.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
