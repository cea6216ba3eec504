package authinject

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// An upstream sees the token, and may send it back by mistake: a token in the query because it
// names its own URL, any token because it answers with the request, as APIs under test do, or in a way
// so broken that the HTTP client's error quotes it. Clients and logs, which hold an answer's fields, are
// not to see it.

// guardAnswer keeps the token out of an answer's fields, trailers and errors, and with query placement
// out of a redirect's page. It also removes the fields that count for the whole origin.
func (x *exchange) guardAnswer(res *http.Response, c *credential) *http.Response {
	token := c.token.AccessToken()
	echoed := scrubField(res.Header, "Location", token)
	x.t.cleanAnswer(res.Header, token)
	x.t.cleanAnswer(res.Trailer, token) // their names; the values come with the end
	switch {
	case res.Body == nil || res.Body == http.NoBody || x.req.Method == http.MethodHead || res.StatusCode == http.StatusNotModified:
	case res.StatusCode == http.StatusSwitchingProtocols: // its Body can also be written to
	case echoed && x.t.Injection.query && res.StatusCode/100 == 3:
		return withoutBody(res) // it names the same URL, for people
	default:
		res.Body = &answerBody{ReadCloser: res.Body, t: x.t, res: res, token: token}
	}
	return res
}

// withoutBody returns res without its body, which is read to its end elsewhere. It is a copy: the
// trailers behind that body are still to be written to res.
func withoutBody(original *http.Response) *http.Response {
	discard(original.Body, 0)
	res := new(http.Response)
	*res = *original
	res.Body, res.ContentLength, res.TransferEncoding, res.Trailer = http.NoBody, 0, nil, nil
	for _, field := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Etag", "Trailer", "Transfer-Encoding", "Digest", "Content-Digest", "Repr-Digest"} {
		delete(res.Header, field)
	}
	res.Header["Content-Length"] = []string{"0"}
	return res
}

// answerBody is a body that more may follow than its own bytes: trailers, and errors that quote them.
type answerBody struct {
	io.ReadCloser
	t     *Transport
	res   *http.Response
	token string
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	b.t.cleanAnswer(b.res.Trailer, b.token)
	if errors.Is(err, io.EOF) {
		return n, err
	}
	return n, scrubError(err, b.token)
}

// scrubbedError is an error without the token that its text held: errors of an HTTP client quote what
// they could not read, which may be the request, echoed.
type scrubbedError struct {
	text string
	err  error
}

// quotation is in the errors of net/http that quote, behind it, what arrived; longWord is what a token
// in a quotation looks like.
var (
	quotation = regexp.MustCompile(`(?:malformed|bad|unsupported|multiple|many) .*?"`)
	longWord  = regexp.MustCompile(`(?:[^\s"\\]|\\["\\]){12,}`)
)

// scrubError keeps token out of the text of err, and any token out of what err quotes: what arrives on a
// connection may be the end of an answer to an earlier request, which was longer than it said, with the
// token of that request in it.
func scrubError(err error, token string) error {
	text := err.Error()
	clean := scrub(text, token)
	if escaped := strings.Trim(strconv.Quote(token), `"`); escaped != token {
		clean = scrub(clean, escaped) // as it stands in a quotation
	}
	if at := quotation.FindStringIndex(clean); at != nil {
		clean = clean[:at[1]] + longWord.ReplaceAllLiteralString(clean[at[1]:], scrubbed)
	}
	if clean != text {
		return &scrubbedError{clean, err}
	}
	return err
}

func (e *scrubbedError) Error() string { return e.text }

// Unwrap is for who asks what kind of error it is: a server, whether to try again.
func (e *scrubbedError) Unwrap() error { return e.err }

// Timeout and Temporary make e a [net.Error], which is where servers look for a timeout.
func (e *scrubbedError) Timeout() bool   { return isTimeout(e.err) }
func (e *scrubbedError) Temporary() bool { return false }

// GoString keeps %#v from what e was made from.
func (e *scrubbedError) GoString() string { return strconv.Quote(e.text) }
