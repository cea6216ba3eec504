package authinject

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// scriptedConn is a connection to a server that answers each request with status 200, except for
// one: while the client begins to write it, the server sends interim answers and resets the
// connection.
type scriptedConn struct {
	net.Conn
	server  net.Conn
	written atomic.Int32 // requests
	resets  int32        // the request during which the server resets the connection; 0: none
	interim string
	begun   <-chan struct{} // closed when the client handles the first interim answer
}

func newScriptedConn(t *testing.T) *scriptedConn {
	client, server := net.Pipe()
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for in := bufio.NewReader(server); ; {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			if _, err := io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	return &scriptedConn{Conn: client, server: server}
}

func (c *scriptedConn) Write(p []byte) (int, error) {
	if c.written.Add(1) != c.resets {
		return c.Conn.Write(p)
	}
	_, _ = io.WriteString(c.server, c.interim)
	<-c.begun
	return 0, syscall.ECONNRESET
}

// An interim answer can arrive after the final one: if net/http sends a request again on another
// connection, it does not wait for the goroutine that reads from the first one. That answer is then
// cleaned as well, and belongs to the request that it was sent for. So what cleans it cannot serve
// another request after RoundTrip has returned.
func TestInterimAnswersAfterTheFinalOne(t *testing.T) {
	begun, proceed := make(chan struct{}), make(chan struct{})
	first := newScriptedConn(t)
	first.resets, first.begun = 2, begun
	for range 3 {
		first.interim += "HTTP/1.1 103 Early Hints\r\nLink: </" + canary + ">\r\n\r\n"
	}
	conns := make(chan net.Conn, 2)
	conns <- first
	conns <- newScriptedConn(t)
	inner := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return <-conns, nil
	}}
	defer inner.CloseIdleConnections()
	held, answer := make(chan struct{}), make(chan struct{})
	rt := newTransport(t, baseFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/held" {
			close(held)
			<-answer
			return respond(req, 200, nil), nil
		}
		return inner.RoundTrip(req)
	}), nil)
	rt.PrivateTrace, rt.Destinations = true, destinations(t, "http://127.0.0.1")
	rt.Source = func(req *http.Request) (TokenSource, error) {
		if req.URL.Path == "/held" {
			return newSource(token(canaryTwo, 1)), nil
		}
		return newSource(token(canary, 1)), nil
	}
	var once sync.Once
	early := make(chan string, 3) // for which request an interim answer arrived, and what it says
	sendTraced := func(path string) {
		req := get(t, "http://127.0.0.1"+path)
		send(t, rt, req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				early <- path + " " + h.Get("Link")
				once.Do(func() { close(begun); <-proceed })
				return nil
			},
		})))
	}
	send(t, rt, get(t, "http://127.0.0.1/a"))
	sendTraced("/resent")
	var other sync.WaitGroup
	other.Go(func() { sendTraced("/held") })
	<-held
	close(proceed)
	for range cap(early) {
		if got, want := <-early, "/resent </REDACTED>"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	close(answer)
	other.Wait()
}

// The second attempt has a trace of its own: a goroutine of the first attempt's connection may still
// use the first one. Both clean what they get.
func TestTraceOfTheSecondAttempt(t *testing.T) {
	var early []string
	private := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		early = append(early, h.Get("Link"))
		return nil
	}}
	var traces []*httptrace.ClientTrace
	rt := newTransport(t, baseFunc(func(req *http.Request) (*http.Response, error) {
		traces = append(traces, httptrace.ContextClientTrace(req.Context()))
		return respond(req, []int{401, 200}[len(traces)-1], nil), nil
	}), newSource(token(canary, 1), token(canaryTwo, 2)))
	rt.PrivateTrace = true
	req := get(t, "https://api.example.com/")
	send(t, rt, req.WithContext(httptrace.WithClientTrace(req.Context(), private)))
	if len(traces) != 2 || traces[0] == traces[1] {
		t.Fatalf("the traces are %v", traces)
	}
	for i, tok := range []string{canary, canaryTwo} {
		if err := traces[i].Got1xxResponse(103, textproto.MIMEHeader{"Link": {"</" + tok + ">"}}); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"</REDACTED>", "</REDACTED>"}; !slices.Equal(early, want) {
		t.Errorf("got %q, want %q", early, want)
	}
}
