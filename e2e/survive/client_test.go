package survive

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// answer is an answer of the API, or the proxy's own answer.
type answer struct {
	status int
	token  uint64 // the number of the access token that was used
	class  string // who has to act, where the proxy had no token
}

// ask sends a GET through p.
func ask(p *harness.Proxy) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	return askWith(ctx, p)
}

func askWith(ctx context.Context, p *harness.Proxy) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/api/x", nil)
	if err != nil {
		return answer{}, err
	}
	res, body, err := rig.Read(p.Client().Do(req))
	if err != nil {
		return answer{}, err
	}
	var said struct {
		Class       string `json:"class"`
		TokenNumber uint64 `json:"token_number"`
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		return answer{}, fmt.Errorf("%d %s: %w", res.StatusCode, body, err)
	}
	return answer{status: res.StatusCode, token: said.TokenNumber, class: said.Class}, nil
}

// wait sends requests to p until one is served with a later access token than after, or until p
// says that a login is required. It returns that answer, and how long it took.
func wait(t *testing.T, p *harness.Proxy, after uint64) (lockedOut bool, took time.Duration) {
	t.Helper()
	began := time.Now()
	var last answer
	var err error
	rig.Eventually(t, func() bool {
		last, err = ask(p)
		lockedOut = last.class == "login"
		return err == nil && (lockedOut || last.status == http.StatusOK && last.token > after)
	}, "service with a new token")
	return lockedOut, time.Since(began)
}

// serves calls wait, and fails the test if p requires a login, and in long runs if p takes longer
// than limit.
func serves(t *testing.T, p *harness.Proxy, after uint64, limit time.Duration) time.Duration {
	t.Helper()
	lockedOut, took := wait(t, p, after)
	if lockedOut {
		t.Error("locked out")
	}
	inTime(t, "getting service back", took, limit)
	return took
}

// load sends requests through p, some milliseconds apart, until stop is called. stop returns their
// number and reports those that failed.
func load(t *testing.T, p *harness.Proxy) (stop func() int) {
	t.Helper()
	var mu sync.Mutex
	var n, failed int
	var first string
	ended := make(chan struct{})
	var client sync.WaitGroup
	client.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			got, err := ask(p)
			mu.Lock()
			if n++; err != nil || got.status != http.StatusOK {
				if failed++; failed == 1 {
					first = fmt.Sprintf("request %d: %+v, %v", n, got, err)
				}
			}
			mu.Unlock()
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
	return func() int {
		close(ended)
		client.Wait()
		if failed > 0 {
			t.Errorf("%d of %d requests failed, the first: %s", failed, n, first)
		}
		return n
	}
}
