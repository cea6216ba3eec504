package caddy

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/authinject/caddy-authinject/tokensource"
)

// The log says once that an upstream cannot be reached, and once that it can be reached again. An
// upstream that comes and goes is logged once a minute, and requests that name many upstreams do not
// fill the memory.
func TestUnreachedIsLoggedOnce(t *testing.T) {
	core, logged := observer.New(zap.DebugLevel)
	u := newUnreached(zap.New(core), func(yield func(string) bool) { yield("orders") })["orders"]
	refused := tokensource.UpstreamFailure("orders", "https://a.example", syscall.ECONNREFUSED)
	unknown := tokensource.UpstreamFailure("orders", "https://a.example", &net.DNSError{IsNotFound: true})
	now := time.Now()
	for i, step := range []struct {
		do   func()
		want string // the new lines
	}{
		{func() { u.failed("https://a.example", refused, now) }, "warn an upstream cannot be reached"},
		{func() { u.failed("https://a.example", refused, now.Add(time.Hour)) }, ""},
		{func() { u.answered("https://b.example") }, ""},
		{func() { u.failed("https://a.example", unknown, now) }, "error an upstream cannot be reached"},
		{func() { u.answered("https://a.example") }, "info an upstream can be reached again"},
		{func() { u.answered("https://a.example") }, ""},
		{func() { u.failed("https://a.example", refused, now.Add(time.Second)) }, ""},
		{func() { u.answered("https://a.example") }, ""},
		{func() { u.failed("https://a.example", refused, now.Add(2*newsEvery)) }, "warn an upstream cannot be reached"},
	} {
		step.do()
		got := ""
		for _, entry := range logged.TakeAll() {
			got += entry.Level.String() + " " + entry.Message
			if entry.ContextMap()["upstream"] != "https://a.example" || entry.ContextMap()["source"] != "orders" {
				t.Errorf("step %d has %v", i, entry.ContextMap())
			}
		}
		if got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	for i := range 2 * maxUnreached {
		u.failed(strings.Repeat("x", i+1), refused, now.Add(2*newsEvery))
	}
	if n := len(u.upstreams); n != maxUnreached || len(u.problems(now.Add(2*newsEvery))) != n {
		t.Errorf("%d upstreams are remembered", n)
	}
	if left := u.problems(now.Add(2*newsEvery + showRefusal)); left != nil {
		t.Errorf("after a long time: %v", left)
	}
}

// A request to an upstream that answers costs no allocation here.
func TestWatchedBaseAllocates(t *testing.T) {
	res := new(http.Response)
	base := watchedBase{roundTripper(func(*http.Request) *http.Response { return res }),
		&Transport{unreached: new(unreached)}}
	req, _ := http.NewRequest(http.MethodGet, "https://api.example.com/", nil)
	if got := testing.AllocsPerRun(100, func() { _, _ = base.RoundTrip(req) }); got != 0 {
		t.Errorf("%.0f allocations", got)
	}
}

// timeoutError is an error of the net package's kind.
type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

// The explanation leaves what reverse_proxy reads in an error as it is: its type, and whether it is
// a time-out. It is no failure to get a token.
func TestExplanationKeepsTheError(t *testing.T) {
	failure := tokensource.UpstreamFailure("orders", "https://a.example", syscall.ECONNREFUSED)
	for _, inner := range []error{errors.New("refused"), timeoutError{errors.New("slow")}} {
		err := explainUnreached(&unreachedError{inner, failure, ""})
		_, want := inner.(timeoutError)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() != want || !errors.Is(err, inner) {
			t.Errorf("%v has changed", inner)
		}
		if !strings.HasPrefix(err.Error(), inner.Error()+
			`; token source "orders": the upstream refuses connections: start the server`) {
			t.Errorf("got %v", err)
		}
		if errors.As(err, new(*tokensource.Error)) {
			t.Error("it looks like a failure to get a token")
		}
	}
	if other := errors.New("broken"); explainUnreached(other) != other || explainUnreached(nil) != nil {
		t.Error("another error is explained")
	}
}
