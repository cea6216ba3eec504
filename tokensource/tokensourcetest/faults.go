package tokensourcetest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Respond answers with a status, a Content-Type and a body, and does not carry out the request.
func Respond(status int, contentType, body string) Fault {
	return Fault{
		Name:   fmt.Sprintf("status %d", status),
		Answer: &Answer{Status: status, Header: http.Header{"Content-Type": {contentType}}, Body: body},
	}
}

// Unavailable answers 503 with a plain text.
func Unavailable() Fault {
	return Respond(http.StatusServiceUnavailable, "text/plain", "upstream connect error\n")
}

// TooManyRequests answers 429 with Retry-After in seconds, rounded up (RFC 9110 section 10.2.3).
func TooManyRequests(retryAfter time.Duration) Fault {
	seconds := int64((retryAfter + time.Second - 1) / time.Second)
	return withRetryAfter(strconv.FormatInt(seconds, 10))
}

// TooManyRequestsUntil answers 429 with Retry-After as a date.
func TooManyRequestsUntil(at time.Time) Fault {
	return withRetryAfter(at.UTC().Format(http.TimeFormat))
}

func withRetryAfter(value string) Fault {
	f := OAuthError(http.StatusTooManyRequests, "slow_down")
	f.Answer.Header.Set("Retry-After", value)
	return f
}

// OAuthError answers with an error code (RFC 6749 section 5.2). With status 200 it is an error in
// the form that some providers use.
func OAuthError(status int, code string) Fault {
	f := Respond(status, "application/json", `{"error":`+strconv.Quote(code)+`}`)
	f.Name += " " + code
	return f
}

// HTMLPage answers with a web page, such as a login page with status 200 or a firewall's notice
// with 403.
func HTMLPage(status int) Fault {
	return Respond(status, "text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in</title><p>Please sign in.</p>\n")
}

// Empty answers without a body.
func Empty(status int) Fault { return Respond(status, "application/json", "") }

// BrokenJSON answers 200 with JSON that ends in the middle, although the HTTP message is complete.
// The request is not carried out. To carry it out as well, see [HalfAnswer].
func BrokenJSON() Fault {
	f := Respond(http.StatusOK, "application/json", `{"access_token":"never-issued","token_ty`)
	f.Name = "broken JSON"
	return f
}

// HugeBody answers 200 with well-formed JSON of more than n bytes.
func HugeBody(n int64) Fault {
	f := Respond(http.StatusOK, "application/json", `{"access_token":"never-issued","token_type":"Bearer","padding":"`)
	f.Name = "huge body"
	f.Answer.Stream = func(w io.Writer) error {
		chunk := strings.Repeat("x", 32<<10)
		for left := n; left > 0; left -= int64(len(chunk)) {
			if _, err := io.WriteString(w, chunk[:min(left, int64(len(chunk)))]); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, `"}`)
		return err
	}
	return f
}

// Redirect redirects the client. With 307 or 308 a client that follows would repeat the request
// there, including its credentials.
func Redirect(status int, location string) Fault {
	return Fault{
		Name:   fmt.Sprintf("status %d", status),
		Answer: &Answer{Status: status, Header: http.Header{"Location": {location}}},
	}
}

// SetMember replaces one member of a successful response by value, which may be anything that
// encoding/json can encode: SetMember("token_type", "mac").
func SetMember(name string, value any) Fault {
	return Fault{Name: "other " + name, Edit: func(m map[string]any) { m[name] = value }}
}

// DeleteMember removes one member from a successful response.
func DeleteMember(name string) Fault {
	return Fault{Name: "no " + name, Edit: func(m map[string]any) { delete(m, name) }}
}

// TaintAccessToken appends suffix to the access token of the response. The suffix is text that a
// header field cannot hold: "\r\nX-Injected: 1", a space, a non-ASCII letter.
func TaintAccessToken(suffix string) Fault {
	return Fault{Name: "tainted access token", Edit: func(m map[string]any) {
		m["access_token"] = fmt.Sprint(m["access_token"]) + suffix
	}}
}

// DropConnection closes the connection at a point.
func DropConnection(at DropPoint) Fault { return Fault{Name: "connection dropped", Drop: at} }

// ResetConnection breaks the connection at a point with a TCP reset.
func ResetConnection(at DropPoint) Fault {
	return Fault{Name: "connection reset", Drop: at, Reset: true}
}

// LoseAnswer carries out the request and closes the connection instead of answering. With rotation,
// the refresh token is spent and its successor is lost.
func LoseAnswer() Fault { return Fault{Name: "answer lost", Drop: BeforeAnswering} }

// HalfAnswer carries out the request and sends half of the response. Content-Length announced the
// whole response.
func HalfAnswer() Fault { return Fault{Name: "half an answer", Drop: Halfway} }

// ButProcessed makes a fault that has its own response carry out the request all the same.
// ButProcessed(Unavailable()) is a gateway that gave up too early.
func ButProcessed(f Fault) Fault {
	f.Process = true
	return f
}

// Delay waits before the request is carried out.
func Delay(d time.Duration) Fault { return Fault{Name: "delay", Before: Pause{For: d}} }

// DelayAnswer waits after the request was carried out.
func DelayAnswer(d time.Duration) Fault { return Fault{Name: "late answer", After: Pause{For: d}} }

// Hold holds the request until a channel is closed, and then carries it out.
func Hold(until <-chan struct{}) Fault { return Fault{Name: "held", Before: Pause{Until: until}} }

// HoldAnswer carries out the request and holds the response until a channel is closed.
func HoldAnswer(until <-chan struct{}) Fault {
	return Fault{Name: "answer held", After: Pause{Until: until}}
}

// DripAnswer sends the body byte by byte, with an interval before each byte.
func DripAnswer(interval time.Duration) Fault { return Fault{Name: "drip", Drip: interval} }
