package tokensourcetest

import (
	"io"
	"net/http"
	"time"
)

// Fault is what goes wrong with one token request. The zero Fault is a request
// that goes well. The fields act in the order in which they are listed here,
// except that Reset and Drip qualify the last step.
type Fault struct {
	// Name stands in the records. Free text.
	Name string
	// Before is a wait after the request was read and before it is carried out.
	Before Pause
	// Answer is sent, verbatim, instead of the server's own answer. The request
	// is then not carried out, unless Process is set.
	Answer *Answer
	// Process carries the request out although Answer hides the result: tokens
	// are issued and rotated, and the client never learns them.
	Process bool
	// Edit changes the members of a successful answer before it is encoded. It
	// is not called for error answers.
	Edit func(answer map[string]any)
	// After is a wait after the request was carried out and before the answer.
	After Pause
	// Drop is where the connection breaks. Default: [Never].
	Drop DropPoint
	// Reset breaks it by a TCP reset instead of an orderly end. A reset may
	// overtake what was sent just before it.
	Reset bool
	// Drip sends the body of the answer byte by byte, with this time before each.
	Drip time.Duration
}

// DropPoint is the moment at which a connection breaks.
type DropPoint int

const (
	// Never: the answer is sent.
	Never DropPoint = iota
	// BeforeReading: when the header of the request has arrived and its body has
	// not been looked at. The record has no Params. In a function given to
	// [Server.SetFault] the body has been read already, so that it is the same
	// as BeforeProcessing there.
	BeforeReading
	// BeforeProcessing: the request was read and is not carried out.
	BeforeProcessing
	// BeforeAnswering: the request was carried out and the answer is lost.
	BeforeAnswering
	// Halfway: after half of the body, of which the header announced all. An
	// Answer with a Stream loses that altogether.
	Halfway
)

// Pause is a wait: for a time, and then until a channel is closed. The zero
// Pause is none. A pause does not notice that the client has gone, just as a
// busy server does not; closing the [Server] ends it, and the request with it.
type Pause struct {
	// For is in real time, whatever Config.Now says.
	For time.Duration
	// Until is waited for until it is closed; nil: not at all.
	Until <-chan struct{}
}

// Answer is a response to be sent verbatim.
type Answer struct {
	// Status is the HTTP status. Default: 200.
	Status int
	// Header is all of the header, but for Date and Content-Length, which are
	// added where they are missing. A Content-Length that says more than the
	// body has makes the server break the connection after the body.
	Header http.Header
	// Body is the body.
	Body string
	// Stream writes more body after Body, for what should not be held in
	// memory. The answer has no Content-Length then.
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
