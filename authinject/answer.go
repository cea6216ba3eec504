package authinject

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An upstream gets the token and may send it back. If the token is in the query, the token comes
// back when the upstream names its own URL. An upstream may also answer with the request, as test
// APIs do. Or it answers with bytes that the HTTP client cannot parse and quotes in its error.
// Clients and logs of response fields must not get the token.

// guardAnswer removes the token from an answer's fields, trailers and errors. With the token in the
// query, it also drops a redirect's page. It also removes the fields that apply to the whole
// origin.
func (x *exchange) guardAnswer(res *http.Response, c *credential) *http.Response {
	token := c.access
	redirect := x.t.Injection.query && res.StatusCode/100 == 3
	echoed := redirect && scrubField(res.Header, "Location", res.Header["Location"], token)
	final := res.StatusCode != http.StatusSwitchingProtocols
	exposed := x.t.cleanAnswer(res.Header, token, final)
	if final && x.page != "" {
		allowPage(res.Header, x.page, exposed)
	}
	x.t.cleanAnswer(res.Trailer, token, false) // only the names: the values arrive after the body
	switch {
	case res.Body == nil || res.Body == http.NoBody:
	case !final: // its Body can also be written to
	case echoed && x.req.Method != http.MethodHead && res.StatusCode != http.StatusNotModified:
		return withoutBody(res) // the page of a redirect contains the same URL
	default:
		x.guarded = answerBody{ReadCloser: res.Body, t: x.t, res: res, token: token}
		res.Body = &x.guarded
	}
	return res
}

// withoutBody returns a copy of original without its body, which another goroutine reads to its
// end. The trailers after that body are written to original, not to the copy.
func withoutBody(original *http.Response) *http.Response {
	discard(original.Body, 0)
	res := new(http.Response)
	*res = *original
	res.Body, res.ContentLength, res.TransferEncoding, res.Trailer = http.NoBody, 0, nil, nil
	for _, field := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Etag", "Trailer",
		"Transfer-Encoding", "Digest", "Content-Digest", "Repr-Digest"} {
		delete(res.Header, field)
	}
	res.Header["Content-Length"] = []string{"0"}
	return res
}

// answerBody is the body of an answer, whose trailers and errors may hold the token.
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
	b.t.cleanAnswer(b.res.Trailer, b.token, false)
	if errors.Is(err, io.EOF) {
		return n, err
	}
	return n, scrubError(err, b.token)
}

// scrubbedError is an error without the token that its text held: errors of an HTTP client quote
// the bytes that they cannot parse, and these may repeat the request.
type scrubbedError struct {
	text string
	err  error
}

// quotation is the text of an HTTP client's errors in front of what arrived: net/http quotes it, and
// the client of HTTP/3 does not always. longWord matches a token there. fieldNames are the long words
// of these errors.
var (
	quotation = regexp.MustCompile(`\b(?:malformed|bad|unsupported|multiple|many|invalid|duplicate|contradicting` +
		`|not lower-case|pseudo.header)\b|debug=|\(remote\)`)
	longWord   = regexp.MustCompile(`(?:[^\s"\\]|\\["\\]){12,}`)
	fieldNames = []string{"Content-Length", "pseudo-header"}
)

// scrubError removes token from the text of err, and any token from what err quotes: the bytes on a
// connection may be the tail of an over-long answer to an earlier request, with that request's
// token.
func scrubError(err error, token string) error {
	text := err.Error()
	clean := scrub(text, token)
	if escaped := strings.Trim(strconv.Quote(token), `"`); escaped != token {
		clean = scrub(clean, escaped) // the token as strconv.Quote writes it in an error's text
	}
	if at := quotation.FindStringIndex(clean); at != nil {
		clean = clean[:at[1]] + longWord.ReplaceAllStringFunc(clean[at[1]:], func(word string) string {
			if slices.Contains(fieldNames, word) {
				return word
			}
			return scrubbed
		})
	}
	if clean != text {
		return &scrubbedError{clean, err}
	}
	return err
}

func (e *scrubbedError) Error() string { return e.text }

// Unwrap lets a server check the kind of error, to decide whether to try again.
func (e *scrubbedError) Unwrap() error { return e.err }

// Timeout and Temporary make e a [net.Error], by which servers recognize a timeout.
func (e *scrubbedError) Timeout() bool   { return isTimeout(e.err) }
func (e *scrubbedError) Temporary() bool { return false }

// GoString keeps %#v from printing the original error.
func (e *scrubbedError) GoString() string { return strconv.Quote(e.text) }
