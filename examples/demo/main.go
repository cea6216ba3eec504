// Command demo shows authinject at work on this machine alone: an authorization
// server with a protected API, and Caddy in front of it that brings the token.
//
// It needs a Caddy binary with authinject; "make run" builds one and starts this.
package main

import (
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
	"strings"
	"syscall"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// tokenLifetime is short, so that one can watch tokens being replaced.
const tokenLifetime = 20 * time.Second

// The usual ports; free ones are taken where these are in use.
const (
	proxyPort    = 8080
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
}

// run starts everything, and returns when ctx ends or Caddy does.
func run(ctx context.Context, caddy string, out, logs io.Writer) error {
	provider, err := startProvider()
	if err != nil {
		return fmt.Errorf("starting the authorization server: %w", err)
	}
	defer provider.Close()

	dir, err := os.MkdirTemp("", "authinject-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	port, err := freePort(proxyPort)
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(caddyfile(port, provider)), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(caddy, "run", "--config", config, "--adapter", "caddyfile") //nolint:noctx // the operator names it; it is told to end, not killed
	cmd.Env = append(os.Environ(), "DEMO_CLIENT_SECRET="+tokensourcetest.DefaultClientSecret,
		"HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stdout, cmd.Stderr = logs, logs
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
		return err
	}
	fmt.Fprint(out, guide(port, provider))

	select {
	case <-ended:
		return fmt.Errorf("the proxy ended by itself: %w", orClean(exit))
	case <-ctx.Done():
	}
	fmt.Fprintln(out, "\nEnding …")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		_ = cmd.Process.Kill() // where there are no signals
	}
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
	}
	fmt.Fprintln(out, "Everything is closed; nothing was left behind.")
	return nil
}

func startProvider() (*tokensourcetest.Server, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", providerPort)) //nolint:noctx // a moment at start
	if err != nil {
		listener, err = net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // as above
	}
	if err != nil {
		return nil, err
	}
	return tokensourcetest.Listen(tokensourcetest.Config{
		Listener:            listener,
		AccessTokenLifetime: tokenLifetime,
	})
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

// caddyfile is the demo's configuration, as one would write it.
func caddyfile(port int, provider *tokensourcetest.Server) string {
	return fmt.Sprintf(`{
	admin off
	persist_config off
	log {
		format console
		include authinject http.log.error
	}
	authinject {
		source demo {
			grant         client_credentials
			token_url     %s
			client_id     %s
			client_secret {env.DEMO_CLIENT_SECRET}
		}
	}
}

http://127.0.0.1:%d {
	bind 127.0.0.1
	authinject demo %s
}
`, provider.TokenURL(), tokensourcetest.DefaultClientID, port, provider.URL)
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
			return errors.New("the proxy ended before it listened; its log says why")
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return errors.New("the proxy does not listen after 30 s")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func orClean(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// guide says what runs and what to try.
func guide(port int, provider *tokensourcetest.Server) string {
	return strings.NewReplacer(
		"PROXY", fmt.Sprintf("http://127.0.0.1:%d", port),
		"PROVIDER", provider.URL,
		"TOKEN_URL", provider.TokenURL(),
		"LIFETIME", tokenLifetime.String(),
	).Replace(`
authinject demo

  authorization server   TOKEN_URL   (tokens live LIFETIME)
  protected API          PROVIDER/api      (refuses requests without a token)
  proxy                  PROXY       (brings the token)

Try, in another terminal:

  curl -i PROVIDER/api/hello
      around the proxy: 401, the API wants a token

  curl -i PROXY/api/hello
      through the proxy: 200, with a token that you never saw

  curl -i -H 'Authorization: Bearer junk' PROXY/api/hello
      200 as well: what a client sends as a credential stops at the proxy

  while sleep 1; do curl -s PROXY/api/hello; echo; done
      "token_number" goes up about every 16 s: each token is replaced before it
      ends, in the background, and no request waits for it

Ctrl-C ends the demo.

`)
}
