package authinject

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// errSuperseded is what an attempt reads from a request body that was taken from it.
var errSuperseded = errors.New("authinject: request body is closed")

// requestBody is a client's request body while it is sent, once or twice. What
// the first attempt reads is kept, up to a limit, as it streams through. The
// second attempt reads what was kept and then goes on with the stream where the first one is: also
// when the upstream answered early and its transport is still reading. That one
// Read cannot be stopped; what it brings is kept for the second attempt, and any
// further one of the first attempt fails.
type requestBody struct {
	src      io.ReadCloser
	trailer  http.Header // the client's: its values arrive with the end of src
	in       *Injection
	limit    int64 // most bytes to keep
	expected int64 // Content-Length, or -1

	// reading is held during Read of src, which may block on the client for
	// long; mu guards the fields below and never blocks.
	reading sync.Mutex

	mu         sync.Mutex
	kept       []byte
	lost       bool     // more was read than was kept
	settled    bool     // there will be no further attempt
	current    *attempt // who reads now
	inflight   *attempt // who is in src.Read
	err        error    // how src ended
	closed     bool     // src was closed
	closeLater bool     // ... is to be, when the Read in flight returns
}

// attempt is the body of one request as it is handed to the inner transport.
type attempt struct {
	body    *requestBody
	trailer http.Header // the request's own; nil: it has none
	off     int         // how much of body.kept was read
	done    bool        // closed, or superseded
}

// first returns the body of the first attempt.
func (b *requestBody) first(trailer http.Header) *attempt {
	b.current = &attempt{body: b, trailer: trailer}
	return b.current
}

// replayable reports whether second would have everything from the start.
func (b *requestBody) replayable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.lost && !b.settled
}

// second takes the body from the first attempt and returns that of the second,
// or nil when too much was read meanwhile.
func (b *requestBody) second(trailer http.Header) *attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost || b.settled {
		return nil
	}
	b.current.done, b.settled = true, true
	b.current = &attempt{body: b, trailer: trailer}
	return b.current
}

// settle says that there will be no second attempt: nothing more is kept, and
// what the first one closed is closed.
func (b *requestBody) settle() {
	b.mu.Lock()
	b.kept, b.settled = nil, true
	_ = b.closeSource(b.current.done, b.current) // a client's body: nothing to learn from
}

// abandon takes the body from whoever has it and closes it.
func (b *requestBody) abandon() {
	b.mu.Lock()
	b.kept, b.settled, b.current.done = nil, true, true
	_ = b.closeSource(true, nil)
}

// closeSource unlocks mu and closes src, if wanted and not done yet. Like the
// standard transports it does so beside a Read of the same attempt, which may be
// how that Read is ended; beside another's it waits until that has returned.
func (b *requestBody) closeSource(wanted bool, by *attempt) (err error) {
	now := wanted && !b.closed && b.settled
	if now && b.inflight != nil && b.inflight != by {
		b.closeLater, now = true, false
	}
	b.closed = b.closed || now
	b.mu.Unlock()
	if now {
		err = b.src.Close()
	}
	return err
}

// Read implements [io.Reader].
func (r *attempt) Read(p []byte) (int, error) {
	b := r.body
	if n, done, err := r.take(p, false); done {
		return n, err
	}
	b.reading.Lock()
	defer b.reading.Unlock()
	// Another attempt's Read may have brought something while this one waited.
	if n, done, err := r.take(p, true); done {
		return n, err
	}
	n, err := b.src.Read(p)
	return r.brought(p[:n], err)
}

// take reads what there is without reading src. With alone, when nobody else is
// in src.Read, it also tells how src ended, and marks r as the one who reads src next.
func (r *attempt) take(p []byte, alone bool) (n int, done bool, err error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.done:
		return 0, true, errSuperseded
	case r.off < len(b.kept):
		n = copy(p, b.kept[r.off:])
		if r.off += n; b.settled && r.off == len(b.kept) && b.inflight == nil {
			b.kept, r.off = nil, 0
		}
		return n, true, nil
	case !alone:
		return 0, false, nil
	case b.err != nil:
		r.ended(b.err)
		return 0, true, b.err
	}
	b.inflight = r
	return 0, false, nil
}

// brought notes what r read from src.
func (r *attempt) brought(p []byte, err error) (int, error) {
	b := r.body
	b.mu.Lock()
	b.inflight = nil
	if err != nil {
		b.err = err
	}
	superseded := r != b.current
	switch {
	case superseded:
		// The second attempt has begun: it needs this, whatever the limit.
		b.kept = append(b.kept, p...)
	case b.settled || b.lost || len(p) == 0:
	case int64(len(b.kept)+len(p)) > b.limit:
		b.kept, b.lost, r.off = nil, true, 0
	default:
		if b.kept == nil && b.expected > 0 {
			b.kept = make([]byte, 0, min(b.expected, b.limit))
		}
		b.kept = append(b.kept, p...)
		r.off = len(b.kept)
	}
	if err != nil && !superseded {
		r.ended(err)
	}
	if b.closeLater && !b.closed {
		_ = b.closeSource(true, nil)
	} else {
		b.mu.Unlock()
	}
	if superseded {
		return 0, errSuperseded
	}
	return len(p), err
}

// ended fills in the trailers, whose values are complete now, except credentials.
func (r *attempt) ended(err error) {
	if errors.Is(err, io.EOF) && r.trailer != nil {
		clear(r.trailer)
		r.body.in.stripTrailer(r.trailer, r.body.trailer)
	}
}

// Close implements [io.Closer].
func (r *attempt) Close() error {
	b := r.body
	b.mu.Lock()
	r.done = true
	return b.closeSource(r == b.current, r)
}
