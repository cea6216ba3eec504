package survive

import (
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// All processes stand still during a token request for longer than it may take, as in a virtual
// machine that is paused. The answer arrives meanwhile. It is not lost, and no other process takes
// over. 25 times with E2E_LONG=1.
func TestStopsDuringARequest(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	for name, count := range map[string]int{"one process": 1, "three processes": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repeat(t, times(3, 25), func(t *testing.T) {
				w := newWorld(t, 2*time.Second, tokensourcetest.StrictRotation())
				answer := make(chan struct{})
				w.srv.Script(first, tokensourcetest.HoldAnswer(answer))
				for range count {
					w.start(t, "timeout "+timeout.String())
				}
				w.request(t, 2)
				w.signal(t, syscall.SIGSTOP)
				close(answer)
				w.answered(t, 2)
				time.Sleep(timeout + 3*time.Second)
				w.signal(t, syscall.SIGCONT)
				for _, p := range w.processes {
					serves(t, p, 1, back)
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
