package authinject

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func newBody(src io.ReadCloser, limit int64) (*requestBody, *attempt) {
	b := &requestBody{src: src, in: &Injection{}, limit: limit, expected: -1}
	return b, b.first(nil)
}

func readString(t *testing.T, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The body is closed once, and not before it is known whether there is a second attempt.
func TestBodyClose(t *testing.T) {
	type step = func(*requestBody, *attempt)
	settle := func(b *requestBody, _ *attempt) { b.settle() }
	closeFirst := func(_ *requestBody, r *attempt) { _ = r.Close() }
	closeSecond := func(b *requestBody, _ *attempt) { _ = b.current.Close() }
	second := func(b *requestBody, _ *attempt) { b.second(nil) }
	abandon := func(b *requestBody, _ *attempt) { b.abandon() }
	for _, test := range []struct {
		name  string
		steps []step
		want  int32
	}{
		{"settled, then closed", []step{settle, closeFirst, closeFirst}, 1},
		{"closed, then settled", []step{closeFirst, settle, closeFirst}, 1},
		{"closed only", []step{closeFirst}, 0},
		{"settled only", []step{settle}, 0},
		{"the first one's Close is not the second's", []step{second, closeFirst}, 0},
		{"closed before the second", []step{closeFirst, second, closeFirst}, 0},
		{"closed by the second", []step{closeFirst, second, closeSecond, closeFirst}, 1},
		{"abandoned", []step{abandon, closeFirst}, 1},
		{"closed, then abandoned", []step{closeFirst, abandon}, 1},
	} {
		src := &closer{Reader: strings.NewReader("x")}
		b, first := newBody(src, 10)
		for _, step := range test.steps {
			step(b, first)
		}
		if got := src.closed.Load(); got != test.want {
			t.Errorf("%s: closed %d times, want %d", test.name, got, test.want)
		}
	}
}

// If a Read cannot be stopped, the body is closed after it has returned.
func TestBodyAbandonedWhileRead(t *testing.T) {
	src := newGated("", "late")
	b, first := newBody(src, 10)
	done := make(chan error)
	go func() {
		_, err := first.Read(make([]byte, 10))
		done <- err
	}()
	<-src.waiting
	b.abandon()
	if src.closed.Load() != 0 {
		t.Error("closed while it was read")
	}
	close(src.gate)
	<-done
	if src.closed.Load() != 1 {
		t.Errorf("closed %d times", src.closed.Load())
	}
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, errSuperseded) {
		t.Errorf("reading on: %v", err)
	}
}

// The data of a superseded Read belongs to the second attempt, even beyond the limit.
func TestBodySupersededRead(t *testing.T) {
	src := newGated("12", "345678")
	b, first := newBody(src, 4)
	if _, err := io.ReadFull(first, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := first.Read(make([]byte, 100))
		done <- err
	}()
	<-src.waiting
	second := b.second(nil)
	// The kept data can be read at once, without waiting for the client.
	if n, err := second.Read(make([]byte, 100)); n != 2 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	close(src.gate)
	if err := <-done; !errors.Is(err, errSuperseded) {
		t.Errorf("the first attempt got %v", err)
	}
	if rest := readString(t, second); rest != "345678" {
		t.Errorf("the second attempt got %q", rest)
	}
	if b.kept != nil {
		t.Errorf("%q is kept, and nobody will ask for it", b.kept)
	}
	_ = second.Close()
	if src.closed.Load() != 1 {
		t.Errorf("closed %d times", src.closed.Load())
	}
}

// No data is kept beyond the limit, or after it is known that there is no second attempt.
func TestBodyKeepsNoMoreThanItMust(t *testing.T) {
	b, first := newBody(io.NopCloser(iotest.OneByteReader(strings.NewReader("12345"))), 4)
	readString(t, first)
	if b.kept != nil || b.replayable() || b.second(nil) != nil {
		t.Errorf("over the limit: kept %q", b.kept)
	}
	b, first = newBody(io.NopCloser(strings.NewReader("1234")), 4)
	readString(t, first)
	if !b.replayable() {
		t.Error("within the limit: lost")
	}
	b.settle()
	if b.kept != nil || b.replayable() || b.second(nil) != nil {
		t.Errorf("settled: kept %q", b.kept)
	}
}

// An error of the client's body is the result of every attempt.
func TestBodyError(t *testing.T) {
	broken := errors.New("client went away")
	b, first := newBody(io.NopCloser(io.MultiReader(strings.NewReader("12"), errReader{broken})), 10)
	if _, err := io.ReadAll(first); err != broken {
		t.Errorf("first: %v", err)
	}
	text, err := io.ReadAll(b.second(nil))
	if string(text) != "12" || err != broken {
		t.Errorf("second: %q, %v", text, err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// Each attempt has its own trailers, which are complete at the end.
func TestBodyTrailers(t *testing.T) {
	b, _ := newBody(io.NopCloser(strings.NewReader("12")), 10)
	b.trailer = http.Header{"X-Sum": {"1"}, "Authorization": {"evil"}}
	first := b.first(http.Header{"X-Sum": nil, "X-Withdrawn": {"1"}})
	readString(t, first)
	second := b.second(http.Header{"X-Sum": nil})
	if second.trailer.Get("X-Sum") != "" {
		t.Error("trailers before the end")
	}
	readString(t, second)
	for _, r := range []*attempt{first, second} {
		if len(r.trailer) != 1 || r.trailer.Get("X-Sum") != "1" {
			t.Errorf("trailers %v", r.trailer)
		}
	}
}
