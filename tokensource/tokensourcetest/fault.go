package tokensourcetest

import (
	"io"
	"net/http"
	"time"
)

// Fault says what goes wrong with one token request. With the zero Fault nothing goes wrong. The
// fields act in the order in which they are listed here, except that Reset and Drip change how the
// last step is done.
type Fault struct {
	// Name is any text. It appears in the records.
	Name string
	// Before is a pause after the request was read and before it is carried out.
	Before Pause
	// Answer is sent verbatim instead of the server's own response. The request is then not carried
	// out, unless Process is set.
	Answer *Answer
	// Process carries out the request although Answer hides the result: tokens are issued and
	// rotated, and the client never receives them.
	Process bool
	// Edit changes the members of a successful response before it is encoded. It is not called for
	// error responses.
	Edit func(answer map[string]any)
	// After is a pause after the request was carried out and before the response.
	After Pause
	// Drop is where the connection breaks. Default: [Never].
	Drop DropPoint
	// Reset breaks the connection with a TCP reset instead of closing it normally. A reset may
	// overtake data that was sent just before it.
	Reset bool
	// Drip sends the body of the response byte by byte, with this pause before each byte.
	Drip time.Duration
}

// DropPoint is the moment at which a connection breaks.
type DropPoint int

const (
	// Never means that the response is sent.
	Never DropPoint = iota
	// BeforeReading means that the header of the request has arrived and its body was not read. The
	// record has no Params. A function given to [Server.SetFault] runs after the body was read, so
	// there it means the same as BeforeProcessing.
	BeforeReading
	// BeforeProcessing means that the request was read and is not carried out.
	BeforeProcessing
	// BeforeAnswering means that the request was carried out and the response is lost.
	BeforeAnswering
	// Halfway means after half of the body. The header announced the whole body. If an Answer has a
	// Stream, all of the Stream is lost.
	Halfway
)

// Pause is a wait: first for a duration, then until a channel is closed. The zero Pause does not
// wait. A pause does not notice that the client has gone, like a busy server. Closing the [Server]
// ends the pause and the request.
type Pause struct {
	// For is a duration in real time, independent of Config.Now.
	For time.Duration
	// Until is a channel. The pause lasts until it is closed. Nil means no wait.
	Until <-chan struct{}
}

// Answer is a response that is sent verbatim.
type Answer struct {
	// Status is the HTTP status. Default: 200.
	Status int
	// Header is the whole header, except for Date and Content-Length, which are added if they are
	// missing. If Content-Length is larger than the body, the server breaks the connection after
	// the body.
	Header http.Header
	// Body is the body.
	Body string
	// Stream writes more of the body after Body, for data that should not be held in memory. The
	// response has no Content-Length then.
	Stream func(w io.Writer) error
}

func (a *Answer) answer() answer {
	status := a.Status
	if status == 0 {
		status = http.StatusOK
	}
	return answer{status: status, header: a.Header, body: []byte(a.Body), stream: a.Stream}
}

// pause waits, and returns false if the server is being closed.
func (s *Server) pause(p Pause) bool {
	if p.For > 0 {
		timer := time.NewTimer(p.For)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.closing:
			return false
		}
	}
	if p.Until != nil {
		select {
		case <-p.Until:
		case <-s.closing:
			return false
		}
	}
	return true
}
