package authinject

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
)

// interimGuard cleans the interim answers (1xx, such as Early Hints) of a request as the final answer
// is cleaned. A trace gets interim answers; RoundTrip does not return them.
type interimGuard struct {
	t     *Transport
	pass  func(int, textproto.MIMEHeader) error
	token string
}

func (g *interimGuard) got1xx(code int, h textproto.MIMEHeader) error {
	g.t.cleanAnswer(http.Header(h), g.token, false)
	return g.pass(code, h)
}

// guardInterim returns out with a trace, if it has one, that does not get c's token. It keeps what the
// trace needs in guard.
func (t *Transport) guardInterim(guard *interimGuard, out *http.Request, c *credential) *http.Request {
	ctx := out.Context()
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil || trace.Got1xxResponse == nil || c == nil {
		return out
	}
	*guard = interimGuard{t: t, pass: trace.Got1xxResponse, token: c.token.AccessToken()}
	if t.PrivateTrace {
		trace.Got1xxResponse = guard.got1xx
		return out
	}
	own := *trace
	own.Got1xxResponse = guard.got1xx
	return out.WithContext(traceContext{ctx, &own})
}

// traceContext is a context with another trace. [httptrace.WithClientTrace] would call both.
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
