package doctor

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxRecorded limits what is kept of a request or an answer.
const maxRecorded = 1 << 20

// recorder is the RoundTripper of the examined source. It sends every request unchanged, and keeps
// a copy of each request and its response until the examination ends.
type recorder struct {
	base http.RoundTripper

	mu   sync.Mutex
	list []*exchange
	// answers counts the answers. date is the Date of the last answer that had one. arrived is this
	// machine's time when that answer arrived.
	answers       int
	date, arrived time.Time
}

// exchange is a request with its answer.
type exchange struct {
	method   string
	query    url.Values
	status   int
	date     time.Time // of the answer; zero: it has none
	request  copied
	response copied
}

// copied is a body that is copied while it is read.
type copied struct {
	io.ReadCloser

	mu   sync.Mutex
	copy bytes.Buffer
}

func (c *copied) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copy.Len() < maxRecorded {
		c.copy.Write(p[:n])
	}
	return n, err
}

func (c *copied) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.copy.String()
}

// newRecorder returns a recorder that uses the configured transport. If it is nil, the recorder
// makes its own.
func newRecorder(configured http.RoundTripper) *recorder {
	if configured != nil {
		return &recorder{base: configured}
	}
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	base = base.Clone()
	base.DisableKeepAlives = true
	return &recorder{base: base}
}

// RoundTrip implements [http.RoundTripper].
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	x := &exchange{method: req.Method, query: req.URL.Query()}
	if req.Body != nil && req.Body != http.NoBody {
		x.request.ReadCloser = req.Body
		shallow := *req
		shallow.Body = &x.request
		req = &shallow
	}
	r.mu.Lock()
	r.list = append(r.list, x)
	r.mu.Unlock()
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	r.noteDate(resp)
	r.mu.Lock()
	defer r.mu.Unlock()
	x.status = resp.StatusCode
	x.date, _ = http.ParseTime(resp.Header.Get("Date")) // zero if it cannot be parsed
	x.response.ReadCloser = resp.Body
	resp.Body = &x.response
	return resp, nil
}

func (r *recorder) noteDate(resp *http.Response) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers++
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.date, r.arrived = date, time.Now()
	}
}

// dates is the RoundTripper of requests that only test the client. It records only the Date of
// their answers.
type dates struct{ *recorder }

// RoundTrip implements [http.RoundTripper].
func (d dates) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.base.RoundTrip(req)
	if err == nil {
		d.noteDate(resp)
	}
	return resp, err
}

// tokenRequests returns the POST requests, answered or not: these are the token requests.
func (r *recorder) tokenRequests() (list []*exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.list {
		if x.method == http.MethodPost {
			list = append(list, x)
		}
	}
	return list
}

// lastGrant returns the last token request that was granted, or nil.
func (r *recorder) lastGrant() *exchange {
	for _, x := range slices.Backward(r.tokenRequests()) {
		if x.status/100 == 2 {
			return x
		}
	}
	return nil
}

// age returns how long before the Date of the answer the token was made, according to created_at.
// It is zero if that is not known, or only the clock's resolution.
func (x *exchange) age() time.Duration {
	if x == nil || x.date.IsZero() || x.granted("expires_in") == "" {
		return 0
	}
	text := x.granted("created_at")
	created, err := time.Parse(time.RFC3339, text)
	if seconds, malformed := strconv.ParseFloat(text, 64); malformed == nil {
		created, err = time.Unix(int64(seconds), 0), nil
	}
	const resolution = 2 * time.Second
	if age := x.date.Sub(created).Round(time.Second); err == nil && age > resolution {
		return age
	}
	return 0
}

// clock returns the Date of the last answer that had one, this machine's time when it arrived, and
// the number of answers.
func (r *recorder) clock() (date, arrived time.Time, answers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.date, r.arrived, r.answers
}

// sent returns a parameter of the request, which is in the body or, with body_format query, in the
// URL.
func (x *exchange) sent(name string) string {
	if x.query.Has(name) {
		return x.query.Get(name)
	}
	body := x.request.text()
	if strings.HasPrefix(body, "{") {
		var members map[string]any
		_ = json.Unmarshal([]byte(body), &members) // another body has no parameters
		value, _ := members[name].(string)
		return value
	}
	form, _ := url.ParseQuery(body) // what cannot be parsed is not there
	return form.Get(name)
}

// granted returns a member of the answer, as text.
func (x *exchange) granted(name string) string {
	body := strings.TrimSpace(strings.TrimPrefix(x.response.text(), "\ufeff"))
	if !strings.HasPrefix(body, "{") {
		form, _ := url.ParseQuery(body) // what cannot be parsed is not there
		return form.Get(name)
	}
	var members map[string]any
	_ = json.Unmarshal([]byte(body), &members) // another body has no members
	switch value := members[name].(type) {
	case string:
		return value
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	return ""
}
