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
	// drainMost is how much of a refusal is read before the request is sent
	// again, so that its connection can be used for that.
	drainMost = 4 << 10
	// drainWait is how long that may hold the request up.
	drainWait = 100 * time.Millisecond
)

// replace goes on after the upstream refused the token of c with refusal: the
// token is marked as refused, and the request sent once more with the next one,
// once, if its body can be had from the start.
func (x *exchange) replace(refusal *http.Response, c *credential) (*http.Response, error) {
	if !x.replayable() {
		x.source.Refused(c.token)
		x.settle()
		return x.pass(refusal, nil, c, OutcomeRefused)
	}
	tok, err := x.reject(c.token)
	if errors.Is(err, tokensource.ErrNoReplacement) || err == nil && tok == nil {
		x.settle()
		return x.pass(refusal, nil, c, OutcomeRefused)
	}
	if err != nil {
		discard(refusal.Body, 0)
		return x.fail(err)
	}
	next := x.t.present(tok)
	if next == nil || next.value == c.value { // the same once more
		x.settle()
		return x.pass(refusal, nil, c, OutcomeRefused)
	}
	again := x.again(next)
	if again == nil {
		x.settle()
		return x.pass(refusal, nil, c, OutcomeRefused)
	}
	discard(refusal.Body, drainWait)
	x.result.Replayed = true
	res, err := x.base().RoundTrip(again)
	if err == nil && x.t.refused(res.StatusCode) {
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

// reject tells the source that tok was refused and waits, within the limit, for
// the one to try instead.
func (x *exchange) reject(tok *tokensource.Token) (*tokensource.Token, error) {
	ctx := x.req.Context()
	if limit := x.t.wait(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	start := time.Now()
	tok, err := x.source.Reject(ctx, tok)
	x.result.Waited += time.Since(start)
	return tok, err
}

// again returns the request as the second attempt sends it, or nil when its body
// cannot be had from the start any more. The first attempt's transport may still be at
// work with the first copy, so nothing of that one is changed.
func (x *exchange) again(c *credential) *http.Request {
	out := x.out
	out.Header = maps.Clone(x.out.Header)
	x.putURL(&out, c)
	x.putHeader(&out, c)
	if x.body != nil && x.out.Trailer != nil {
		// The first attempt's may be filled at this moment.
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
	return x.t.guardInterim(new(interimContext), &out, c)
}

// discard reads what little is left of an answer that nobody will see and closes
// it, waiting at most for wait. An upstream that holds its answer open can hold
// up only a goroutine, which ends with the request.
func discard(body io.ReadCloser, wait time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
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
