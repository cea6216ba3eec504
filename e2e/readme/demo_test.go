//go:build unix

package readme

import (
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// "make run" starts the demo, says what to try, does what it says, and ends
// cleanly at Ctrl-C.
func TestMakeRun(t *testing.T) {
	root := harness.Root(t)
	out := new(rig.Output)
	cmd := exec.Command("make", "run")
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a signal reaches all, as from a terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })

	rig.Within(t, 20*time.Minute, func() bool { return strings.Contains(out.String(), "Ctrl-C ends the demo") },
		"the guide:\n%s", out)
	tried := 0
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "curl -i ") {
			want := http.StatusServiceUnavailable // an account that is not connected yet
			switch {
			case tried == 0:
				want = http.StatusUnauthorized // around the proxy
			case tried < 3:
				want = http.StatusOK // through it
			}
			try(t, line, want)
			tried++
		}
	}
	if tried != 3+5 {
		t.Errorf("the guide shows %d commands:\n%s", tried, out)
	}

	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-ended:
	case <-time.After(rig.Patience):
		t.Fatalf("the demo does not end:\n%s", out)
	}
	if !strings.Contains(out.String(), "Everything is closed") {
		t.Errorf("the demo did not end cleanly:\n%s", out)
	}
}

// try does what a curl command of the guide does.
func try(t *testing.T, command string, want int) {
	t.Helper()
	url := command[strings.LastIndexByte(command, ' ')+1:]
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(command, "Authorization: Bearer junk") {
		req.Header.Set("Authorization", "Bearer junk")
	}
	res, body, err := rig.Read(http.DefaultTransport.RoundTrip(req))
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	if res.StatusCode != want {
		t.Errorf("%s: status %d, want %d: %s", command, res.StatusCode, want, body)
	}
}
