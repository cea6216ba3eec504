package tokensourcetest_test

import (
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Close ends held, dripping, idle and dropped connections and leaves no goroutine.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, secure := range []bool{false, true} {
		srv := NewServer(Config{TLS: secure})
		srv.Script(Hold(make(chan struct{})), HoldAnswer(make(chan struct{})), Delay(time.Hour), DripAnswer(time.Hour),
			LoseAnswer(), ResetConnection(Halfway))
		var wg sync.WaitGroup
		for range 7 {
			wg.Go(func() {
				resp, err := srv.Client().Do(tokenRequest(srv, "grant_type", "client_credentials"))
				if err == nil {
					resp.Body.Close()
				}
			})
		}
		if err := srv.WaitTokenRequests(soon(t), 7); err != nil {
			t.Fatal(err)
		}
		idle, err := net.Dial("tcp", srv.URL[strings.LastIndex(srv.URL, "/")+1:])
		if err != nil {
			t.Fatal(err)
		}
		if secure {
			if err := srv.StopListening(); err != nil {
				t.Fatal(err)
			}
		}
		var closing sync.WaitGroup
		for range 3 { // from several goroutines, and more than once
			closing.Go(srv.Close)
		}
		closing.Wait()
		idle.Close()
		wg.Wait()
		for _, r := range srv.TokenRequests() {
			if !r.Done {
				t.Errorf("Close returned before request %d was over", r.Number)
			}
		}
	}
	// The last steps of a goroutine can only be polled.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for runtime.NumGoroutine() > before {
		select {
		case <-tick.C:
		case <-deadline:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// Close waits for requests that are still being carried out, including callbacks.
func TestCloseWaitsForCallbacks(t *testing.T) {
	gone := make(chan (<-chan struct{}), 1)
	var over atomic.Bool
	srv := Start(t, Config{
		Owner: func(r *http.Request) string {
			gone <- r.Context().Done()
			return ""
		},
		EditAnswer: func(*TokenRequest, map[string]any) {
			<-<-gone // the connection is closed
			for range 1000 {
				runtime.Gosched()
			}
			over.Store(true)
		},
	})
	failed := make(chan error)
	go func() {
		_, err := send(srv, tokenRequest(srv, "grant_type", "client_credentials"))
		failed <- err
	}()
	if err := srv.WaitTokenRequests(soon(t), 1); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	if !over.Load() {
		t.Error("Close returned before the callback")
	}
	if err := <-failed; err == nil {
		t.Error("the client got an answer")
	}
}
