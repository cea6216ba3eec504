package authinject

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
)

// interimGuard removes the token from a request's interim answers (1xx, such as Early Hints), as
// from the final answer. Only a trace gets interim answers: RoundTrip does not return them.
type interimGuard struct {
	t     *Transport
	pass  func(int, textproto.MIMEHeader) error
	token string
}

func (g *interimGuard) got1xx(code int, h textproto.MIMEHeader) error {
	g.t.cleanAnswer(http.Header(h), g.token, false)
	return g.pass(code, h)
}

// guardInterim changes the trace of out, if out has one, so that it does not get c's token. It
// keeps what the trace needs in guard, and returns the request to send. private says that no other
// goroutine uses the trace, so that it can be changed in place.
func (t *Transport) guardInterim(guard *interimGuard, out *http.Request, c *credential, private bool) *http.Request {
	ctx := out.Context()
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil || trace.Got1xxResponse == nil || c == nil {
		return out
	}
	*guard = interimGuard{t: t, pass: trace.Got1xxResponse, token: c.access}
	if private {
		trace.Got1xxResponse = guard.got1xx
		return out
	}
	own := *trace
	own.Got1xxResponse = guard.got1xx
	return out.WithContext(traceContext{ctx, &own})
}

// traceContext replaces the trace of a context. [httptrace.WithClientTrace] would call both traces.
type traceContext struct {
	context.Context
	trace *httptrace.ClientTrace
}

func (c traceContext) Value(key any) any {
	value := c.Context.Value(key)
	if _, ok := value.(*httptrace.ClientTrace); ok {
		return c.trace
	}
	return value
}
