package survive

import (
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// All processes are stopped during a token request for longer than a request may take, as in a
// virtual machine that is paused. The answer arrives meanwhile. It is not lost, and no other
// process takes over. 25 times with E2E_LONG=1.
func TestStopsDuringARequest(t *testing.T) {
	t.Parallel()
	const timeout = 5 * time.Second // the processes must be stopped before it passes
	for name, count := range map[string]int{"one process": 1, "three processes": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repeat(t, times(3, 25), func(t *testing.T) {
				w := newWorld(t, 2*time.Second, tokensourcetest.StrictRotation())
				for range count {
					serves(t, w.start(t, "timeout "+timeout.String()), 0, back)
				}
				answer, asked := make(chan struct{}), make(chan int, 1)
				w.srv.SetFault(func(r *tokensourcetest.TokenRequest) tokensourcetest.Fault {
					select {
					case asked <- r.Number:
						return tokensourcetest.HoldAnswer(answer)
					default:
						return tokensourcetest.Fault{}
					}
				})
				n := <-asked
				w.signal(t, syscall.SIGSTOP)
				stopped := time.Now()
				close(answer)
				token := w.answered(t, n).TokenNumber
				// Other processes leave the request alone for a shorter time than this.
				rig.Eventually(t, func() bool { return time.Since(stopped) > timeout+3*time.Second }, "the stop to be long enough")
				w.signal(t, syscall.SIGCONT)
				for _, p := range w.processes {
					serves(t, p, token-1, back)
				}
				w.lossless(t)
			})
		})
	}
}

// signal sends a signal to all processes.
func (w *world) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	for _, p := range w.processes {
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
}
