package authinject

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
)

// interimContext is the context of a request whose interim answers (1xx, such as Early Hints) are
// cleaned as the final answer is. A trace gets interim answers; RoundTrip does not return them.
type interimContext struct {
	context.Context
	t     *Transport
	trace httptrace.ClientTrace
	pass  func(int, textproto.MIMEHeader) error
	token string
}

// guardInterim returns out with a trace, if it has one, that does not get c's token. It makes the
// context in interim.
func (t *Transport) guardInterim(interim *interimContext, out *http.Request, c *credential) *http.Request {
	ctx := out.Context()
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil || trace.Got1xxResponse == nil || c == nil {
		return out
	}
	*interim = interimContext{Context: ctx, t: t, trace: *trace, pass: trace.Got1xxResponse, token: c.token.AccessToken()}
	interim.trace.Got1xxResponse = interim.got1xx
	return out.WithContext(interim)
}

// Value replaces the trace of the context. [httptrace.WithClientTrace] would cost more than
// everything else that is done to a request.
func (c *interimContext) Value(key any) any {
	value := c.Context.Value(key)
	if _, ok := value.(*httptrace.ClientTrace); ok {
		return &c.trace
	}
	return value
}

func (c *interimContext) got1xx(code int, h textproto.MIMEHeader) error {
	c.t.cleanAnswer(http.Header(h), c.token)
	return c.pass(code, h)
}
