package authinject

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	// drainMost is how many bytes of a rejection are read before the request is sent again. If the
	// whole answer is read, the second request can use the same connection.
	drainMost = 4 << 10
	// drainWait is how long this reading may delay the second request.
	drainWait = 100 * time.Millisecond
)

// replace is called after the upstream rejected the token of c with rejection. It tells the source,
// and sends the request once more with the next token, if there is one and the body can be sent
// again.
func (x *exchange) replace(rejection *http.Response, c *credential) (*http.Response, error) {
	var next *credential
	if !x.replayable() {
		x.bodyGone = x.source.Refused(c.token)
	} else {
		tok, err := x.reject(c.token)
		if err != nil && !errors.Is(err, tokensource.ErrNoReplacement) {
			discard(rejection.Body, 0)
			return x.fail(err)
		}
		if err == nil {
			next = x.t.present(tok)
		}
	}
	var again *http.Request
	if next != nil && next.value() != c.value() {
		again = x.again(next)
		x.bodyGone = again == nil
	}
	if again == nil {
		x.settle()
		return x.pass(rejection, nil, c, OutcomeRefused)
	}
	discard(rejection.Body, drainWait)
	x.replayed = true
	res, err := x.send(again, next)
	if err == nil && x.t.rejects(res) {
		x.source.Refused(next.token) // this request is not sent a third time
		return x.pass(res, nil, next, OutcomeRefused)
	}
	if accepter, ok := x.source.(Accepter); ok && err == nil {
		accepter.Accept(next.token)
	}
	return x.pass(res, err, next, OutcomeReplaced)
}

// replayable reports whether the request could be sent again now.
func (x *exchange) replayable() bool {
	switch {
	case x.body == nil:
		return true
	case x.t.RetryBody < 0:
		return false
	case x.req.GetBody != nil:
		return true
	}
	return x.body.replayable()
}

// reject tells the source that tok was rejected and waits, within the limit, for the token to try
// next.
func (x *exchange) reject(tok *tokensource.Token) (*tokensource.Token, error) {
	ctx := x.req.Context()
	if limit := x.t.wait(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	start := time.Now()
	tok, err := x.source.Reject(ctx, tok)
	x.waited += time.Since(start)
	return tok, err
}

// again returns the request for the second attempt, or nil if the body cannot be sent
// again. The first attempt's transport may still use the first copy, so that copy is not changed.
func (x *exchange) again(c *credential) *http.Request {
	out := x.out
	out.Header = maps.Clone(x.out.Header)
	x.putURL(&out, c)
	x.putHeader(&out, c)
	if x.body != nil && x.out.Trailer != nil {
		// Another goroutine may fill the map of the first attempt now.
		out.Trailer = make(http.Header, len(x.announced))
		for _, name := range x.announced {
			out.Trailer[name] = nil
		}
	}
	switch {
	case x.body == nil:
	case x.req.GetBody != nil:
		body, err := x.anew(out.Trailer)
		if err != nil {
			return nil
		}
		out.Body = body
		out.GetBody = func() (io.ReadCloser, error) { return x.anew(out.Trailer) }
	default:
		second := x.body.second(out.Trailer)
		if second == nil {
			return nil
		}
		out.Body = second
	}
	// A goroutine of the first attempt's connection may still use the trace.
	return x.t.guardInterim(new(interimGuard), &out, c, false)
}

// discard reads up to drainMost bytes of an answer that the client does not get, and closes it. It
// waits at most wait for that. If the answer does not end, the reading goes on in the background and
// stops when the request's context ends.
func discard(body io.ReadCloser, wait time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// If reading or closing fails, the connection is not used again. Nothing else depends on
		// it.
		_, _ = io.CopyN(io.Discard, body, drainMost)
		_ = body.Close()
	}()
	if wait == 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
