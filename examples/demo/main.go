// Command demo shows authinject on one machine. It starts authorization servers with protected
// APIs, which are like those of five providers. In front of them it starts Caddy, which adds the
// token and serves the page on which accounts are connected.
//
// The demo needs a Caddy binary with authinject. "make run" builds one and starts the demo.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The usual ports. If one is in use, the demo takes a free one.
const (
	proxyPort    = 8080
	adminPort    = 2019
	providerPort = 9096
)

func main() {
	caddy := flag.String("caddy", "bin/caddy", "the Caddy binary with authinject")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *caddy, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Println("Everything is closed; nothing was left behind.")
}

// run starts everything, and returns when ctx ends or Caddy does. Then everything is closed again.
func run(ctx context.Context, caddy string, out, logs io.Writer) (failed error) {
	port, err := freePort(proxyPort)
	if err != nil {
		return err
	}
	admin, err := freePort(adminPort)
	if err != nil {
		return err
	}
	world, err := startWorld(port)
	if err != nil {
		return fmt.Errorf("starting the authorization servers: %w", err)
	}
	defer world.close()

	dir, err := os.MkdirTemp("", "authinject-demo-")
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, os.RemoveAll(dir)) }()

	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(world.caddyfile(port, admin, isTerminal(logs))), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(caddy, "run", "--config", config, "--adapter", "caddyfile") //nolint:noctx // the operator names it; it is told to end, not killed
	cmd.Env = append(os.Environ(), "DEMO_CLIENT_SECRET="+tokensourcetest.DefaultClientSecret,
		"HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	log := &heldLog{to: logs} // so that the guide is printed first
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting Caddy: %w", err)
	}
	var exit error
	ended := make(chan struct{})
	go func() {
		exit = cmd.Wait()
		close(ended)
	}()

	if err := waitListening(ctx, port, ended); err != nil {
		_ = cmd.Process.Kill()
		<-ended
		log.release()
		return err
	}
	fmt.Fprint(out, world.guide(port, admin))
	log.release()

	select {
	case <-ctx.Done():
	case <-ended:
		select {
		case <-ctx.Done(): // Ctrl-C also reached Caddy, which ended first
		case <-time.After(5 * time.Second):
			return fmt.Errorf("the proxy ended by itself: %w", cmp.Or(exit, errors.New("exit status 0")))
		}
	}
	fmt.Fprintln(out, "\nEnding …")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		_ = cmd.Process.Kill() // on systems without signals
	}
	select {
	case <-ended:
		return nil
	case <-time.After(15 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		return errors.New("the proxy did not end within 15 s, and was killed")
	}
}

// heldLog holds back what is written to it until release is called. After that it passes everything
// on.
type heldLog struct {
	to io.Writer

	mu       sync.Mutex
	released bool
	held     []byte
}

// Write implements [io.Writer].
func (l *heldLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return l.to.Write(p)
	}
	l.held = append(l.held, p...)
	return len(p), nil
}

func (l *heldLog) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = true
	_, _ = l.to.Write(l.held) // a log that cannot be shown does not end the demo
	l.held = nil
}

// isTerminal reports whether w is a terminal, which shows colours.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// freePort returns the usual port, or another one if that is in use.
func freePort(usual int) (int, error) {
	for _, port := range []int{usual, 0} {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // closed at once
		if err != nil {
			continue
		}
		defer listener.Close()
		return listener.Addr().(*net.TCPAddr).Port, nil
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

func waitListening(ctx context.Context, port int, ended <-chan struct{}) error {
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second) //nolint:noctx // bounded
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return errors.New("the proxy ended before it listened: see its log above")
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("the proxy did not listen on 127.0.0.1:%d within 30 s: see its log above", port)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
