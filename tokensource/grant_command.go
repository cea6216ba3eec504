package tokensource

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"time"
)

// Command gets tokens from a program that prints one, such as `gh auth token`. The program runs
// without a shell. It prints either the token on one line, or a JSON object like the response of a
// token endpoint (RFC 6749 section 5.1). It runs again when the token is due, and when an upstream
// refuses the token. Nothing is stored.
type Command struct {
	// Run is the program and its arguments.
	Run []string
	// TTL is how long a token is used at most. Zero means as long as the program or the token says
	// (a JWT does), or else [Config.DefaultLifetime].
	TTL time.Duration
	// Timeout is how long the program may run. Zero means [CommandTimeout].
	Timeout time.Duration
	// Env holds additional environment variables for the program. Their values are read again
	// before each run. The program inherits only PATH, HOME and similar variables, because other
	// variables may hold secrets of other sources.
	Env []Param
}

// CommandTimeout is how long a program of the grant [Command] may run by default.
const CommandTimeout = 10 * time.Second

// commandEnv names the variables that a program inherits. Programs need them to find other programs
// and their configuration.
var commandEnv = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ",
	"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SystemRoot", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "TEMP", "TMP", "PATHEXT", "ComSpec", "ProgramData",
}

// Check reports what is wrong with the fields.
func (g Command) Check() error {
	switch {
	case len(g.Run) == 0 || g.Run[0] == "":
		return errors.New("grant command needs run: the program and its arguments, such as: run gh auth token")
	case g.TTL < 0:
		return errors.New("ttl must be above 0")
	case g.Timeout < 0:
		return errors.New("timeout must be above 0")
	}
	return nil
}

// Traits implements [Grant].
func (Command) Traits() Traits { return Traits{Renews: true, NoTokenURL: true} }

// Next implements [Grant]. Its errors hold nothing that the program printed, because the output may
// be a token.
func (g Command) Next(ctx context.Context, _ *Record) (Request, error) {
	out, err := g.run(ctx)
	if err != nil {
		return Request{}, err
	}
	out = bytes.TrimSpace(withoutBOM(out))
	members := make(map[string]json.RawMessage)
	switch {
	case len(out) == 0:
		return Request{}, g.failure("printed nothing")
	case out[0] == '{':
		if members, err = parseObject(out); err != nil {
			return Request{}, g.failure("printed an object that is not JSON")
		}
	default:
		members["access_token"], _ = json.Marshal(string(out)) // a string always marshals
	}
	granted, err := parseTokenResponse(members, time.Now(), responseRules{})
	switch {
	case errors.Is(err, errNoLifetime):
		return Request{}, g.failure("printed a token that has already expired, or ends at once")
	case err != nil:
		return Request{},
			g.failure("printed an object without a usable token: it needs access_token, and may have expires_in")
	}
	granted.RefreshToken = Secret{} // the program keeps its own refresh token
	return Request{Response: g.limit(granted)}, nil
}

// limit bounds the lifetime by TTL.
func (g Command) limit(granted *TokenResponse) *TokenResponse {
	if g.TTL > 0 && (!granted.HasLifetime || g.TTL < granted.Lifetime) {
		granted.Lifetime, granted.HasLifetime = g.TTL, true
	}
	return granted
}

// run runs the program and returns what it printed.
func (g Command) run(ctx context.Context) ([]byte, error) {
	timeout := cmp.Or(g.Timeout, CommandTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := limited{left: maxAnswer}
	cmd := exec.CommandContext(ctx, g.Run[0], g.Run[1:]...) //nolint:gosec // the operator configures the program
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second // a process that the program left behind may keep the output open
	killWithChildren(cmd)
	cmd.Env = []string{} // without it, the program would inherit all variables
	for _, name := range commandEnv {
		if value, set := os.LookupEnv(name); set {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	for _, p := range g.Env {
		value, err := p.Value(ctx)
		if err != nil {
			return nil, fmt.Errorf("env %s of the grant command: %w", p.Name, err)
		}
		cmd.Env = append(cmd.Env, p.Name+"="+value.Reveal())
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.left < 0:
		return nil, g.failure(fmt.Sprintf("printed more than %d bytes", maxAnswer))
	case ctx.Err() != nil:
		return nil, g.failure(fmt.Sprintf("did not end within %v", timeout))
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, g.failure("was not found: give its full path")
	case errors.Is(err, fs.ErrPermission):
		return nil, g.failure("may not be executed by the user that runs this process")
	case errors.As(err, &exit):
		return nil, g.failure(fmt.Sprintf("failed (%v): run it by hand, as the user of this process, to see why", exit))
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, g.failure("could not be started")
	}
	return out.kept, nil
}

// failure returns an error that names the program, but not its arguments, because they may hold a
// secret.
func (g Command) failure(reason string) *Error {
	return &Error{Class: ClassOperator, Reason: fmt.Sprintf("the command %q %s", g.Run[0], reason)}
}

// limited keeps the bytes written to it, up to a limit.
type limited struct {
	kept []byte
	left int
}

// Write implements [io.Writer]. It fails beyond the limit, which ends the program's output.
func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("too much output")
	}
	l.kept = append(l.kept, p...)
	return len(p), nil
}

// Interface guard
var _ Grant = Command{}
