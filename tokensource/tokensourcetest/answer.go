package tokensourcetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is a response before a fault changes how it is sent.
type answer struct {
	status int
	header http.Header
	body   []byte
	stream func(io.Writer) error // after body; nil: nothing
}

// members returns the members of a successful response (RFC 6749 section 5.1). The caller holds
// s.mu.
func (s *Server) members(issued *issuance, now time.Time) map[string]any {
	m := map[string]any{"access_token": issued.access.value}
	if s.cfg.TokenType != Absent {
		m["token_type"] = s.cfg.TokenType
	}
	if issued.refresh != nil {
		m["refresh_token"] = issued.refresh.value
	}
	if issued.kind != "" {
		m["issued_token_type"] = issued.kind
	}
	if len(issued.access.scopes) > 0 {
		m["scope"] = strings.Join(issued.access.scopes, " ")
	}
	s.cfg.Expiry.apply(m, issued.access.issued, issued.access.expiry, now)
	if s.emulation.members != nil {
		s.emulation.members(issued, m)
	}
	return m
}

// noStore returns the header fields that RFC 6749 section 5.1 requires of token responses.
func noStore() http.Header {
	return http.Header{
		"Content-Type":  {"application/json;charset=UTF-8"},
		"Cache-Control": {"no-store"},
		"Pragma":        {"no-cache"},
	}
}

func tokenAnswer(members map[string]any) answer {
	body, err := json.Marshal(members)
	if err != nil {
		// Only an edit can have added a value that JSON cannot hold.
		panic("tokensourcetest: encoding an edited answer: " + err.Error())
	}
	return answer{status: http.StatusOK, header: noStore(), body: body}
}

func errorAnswer(e *oauthError, request http.Header) answer {
	members := e.body
	if members == nil {
		members = map[string]any{"error": e.code, "error_description": e.description}
	}
	body, _ := json.Marshal(members)
	header := noStore()
	if e.retryAfter > 0 {
		header.Set("Retry-After", strconv.FormatInt(int64((e.retryAfter+time.Second-1)/time.Second), 10))
	}
	switch {
	case e.status == http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodPost)
	case e.status == http.StatusUnauthorized && request.Get("Authorization") != "":
		// RFC 6749 section 5.2: the challenge names the scheme that the client tried.
		header.Set("WWW-Authenticate", `Basic realm="token endpoint"`)
	}
	return answer{status: e.status, header: header, body: body}
}

// send writes out, and reports whether all of it was sent while the client was still connected.
// net/http buffers the last byte until the handler returns.
func (s *Server) send(w http.ResponseWriter, r *http.Request, out answer, drip time.Duration) bool {
	header := w.Header()
	for name, values := range out.header {
		header[name] = values
	}
	if _, ok := out.header["Content-Type"]; !ok {
		header["Content-Type"] = nil // verbatim: net/http must not guess one
	}
	length := strconv.Itoa(len(out.body))
	if drip == 0 && out.stream == nil && header.Get("Content-Length") == "" && out.status != http.StatusNoContent {
		header.Set("Content-Length", length)
	}
	w.WriteHeader(out.status)
	var body io.Writer = w
	if drip > 0 {
		body = &dripper{w: w, flush: http.NewResponseController(w).Flush, wait: func() bool {
			return s.pause(Pause{For: drip}) && r.Context().Err() == nil
		}}
	}
	// The last byte is written separately, because a long write would bypass the buffer.
	split := max(len(out.body)-1, 0)
	for _, part := range [][]byte{out.body[:split], out.body[split:]} {
		if _, err := body.Write(part); err != nil {
			return false
		}
	}
	if out.stream != nil {
		return out.stream(body) == nil && r.Context().Err() == nil
	}
	declared := header.Get("Content-Length")
	return (declared == "" || declared == length) && r.Context().Err() == nil
}

// dripper writes one byte at a time, with a wait before each.
type dripper struct {
	w     io.Writer
	flush func() error
	wait  func() bool
}

// Write implements io.Writer.
func (d *dripper) Write(p []byte) (int, error) {
	for i := range p {
		if err := d.flush(); err != nil {
			return i, err
		}
		if !d.wait() {
			return i, net.ErrClosed
		}
		if _, err := d.w.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// sendHalf announces the whole body and writes half of it.
func sendHalf(conn net.Conn, out answer) {
	header := out.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Length", strconv.Itoa(len(out.body)))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\n", out.status, http.StatusText(out.status))
	_ = header.Write(conn)
	_, _ = fmt.Fprintf(conn, "\r\n%s", out.body[:len(out.body)/2])
}

// takeOver takes the connection from net/http. The handler must close it.
func takeOver(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the connection is already gone
	}
	return conn
}

func closeConn(conn net.Conn, reset bool) {
	if reset {
		abort(conn)
		return
	}
	_ = conn.Close()
}
