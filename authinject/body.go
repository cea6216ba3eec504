package authinject

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// errSuperseded is the error of reads by an attempt that no longer has the request body.
var errSuperseded = errors.New("authinject: request body is closed")

// requestBody is the client's request body, which is sent once or twice. What the first attempt
// reads is kept, up to a limit. The second attempt reads the kept part first, and then continues to
// read the stream. This also works if the upstream answers early, while the first attempt's
// transport still reads. A Read that is already running cannot be stopped, so its data is kept for
// the second attempt. Every later Read of the first attempt fails.
type requestBody struct {
	src      io.ReadCloser
	trailer  http.Header // the client's trailer; its values are set when src ends
	in       *Injection
	limit    int64 // most bytes to keep
	expected int64 // Content-Length, or -1

	// reading is held while src is read, which may block for a long time. mu guards the fields
	// below, and is held only briefly.
	reading sync.Mutex

	mu         sync.Mutex
	kept       []byte
	lost       bool     // more was read than could be kept
	settled    bool     // there is no further attempt
	current    *attempt // the attempt that may read
	inflight   *attempt // the attempt that is in src.Read
	err        error    // how src ended
	closed     bool     // src was closed
	closeLater bool     // src is closed when the running Read returns
}

// attempt is the body of one request as it is handed to the inner transport.
type attempt struct {
	body    *requestBody
	trailer http.Header // the trailer of the request; nil if it has none
	off     int         // how much of body.kept was read
	done    bool        // closed, or superseded
}

// first returns the body of the first attempt.
func (b *requestBody) first(trailer http.Header) *attempt {
	b.current = &attempt{body: b, trailer: trailer}
	return b.current
}

// replayable reports whether a second attempt could send the whole body.
func (b *requestBody) replayable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.lost && !b.settled
}

// second ends the first attempt's use of the body, and returns the body of the second attempt. It
// returns nil if more was read meanwhile than could be kept.
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

// settle says that there is no second attempt. No more data is kept. If the first attempt has
// closed its body, src is closed now.
func (b *requestBody) settle() {
	b.mu.Lock()
	b.kept, b.settled = nil, true
	_ = b.closeSource(b.current.done, b.current) // an error of the client's body does not matter
}

// abandon ends the current attempt's use of the body, and closes src.
func (b *requestBody) abandon() {
	b.mu.Lock()
	b.kept, b.settled, b.current.done = nil, true, true
	_ = b.closeSource(true, nil)
}

// closeSource unlocks mu. It closes src if wanted, unless src is closed already or there may be
// another attempt. If the attempt by is itself in src.Read, src is closed at once, as the standard
// transports do: that may end the Read. If another attempt is in src.Read, src is closed when that
// Read returns.
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
	// Another attempt may have read data while this one waited.
	if n, done, err := r.take(p, true); done {
		return n, err
	}
	n, err := b.src.Read(p)
	return r.brought(p[:n], err)
}

// take reads the kept data and does not read src. alone is true if no other attempt is in src.Read.
// Then take also returns the error with which src ended, or else marks r as the attempt that reads
// src next.
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

// brought handles the result of r's Read of src.
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
		// The second attempt has begun. It needs this data, even beyond the limit.
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

// ended fills in the trailers, except credentials. Their values are complete at the end of src.
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
