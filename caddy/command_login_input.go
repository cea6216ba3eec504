package caddy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net/url"
	"strings"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

// pasted returns the answer in the query or fragment of an address. It is nil for an empty line.
func pasted(line string, login *tokensource.Login) (url.Values, error) {
	line = strings.TrimSpace(line)
	if line == "" {
		return nil, nil
	}
	u, err := url.Parse(line)
	if err != nil || u.Scheme == "" {
		return nil, errors.New("That is not an address. " + //nolint:staticcheck // shown to a person
			"Paste all of it, from http to its end.")
	}
	answer := u.Query()
	if fragment, err := url.ParseQuery(u.EscapedFragment()); err == nil {
		maps.Copy(answer, fragment)
	}
	switch {
	case !connect.HasAnswer(answer):
		return nil, errors.New("There is no answer in that address. " + //nolint:staticcheck // shown to a person
			"Paste the one at which the browser ends, after you have allowed access.")
	case len(answer["state"]) != 1 || !tokensource.NewSecret(answer.Get("state")).Equal(login.State):
		return nil, errors.New("That is the answer to another login. " + //nolint:staticcheck // shown to a person
			"Use the address that was printed above.")
	}
	answer.Del("state")
	return answer, nil
}

// line reads a line that a person types.
func (l *terminalLogin) line(ctx context.Context) (string, error) {
	select {
	case line, open := <-l.in:
		if !open {
			return "", errors.New("the input ended; nothing was changed")
		}
		return strings.TrimSpace(line), nil
	case <-ctx.Done():
		return "", ended(ctx)
	}
}

// ended returns why ctx ended.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errors.New("interrupted; nothing was changed")
}

// newLines reads lines in the background, because reading cannot be canceled.
func newLines(r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, 64<<10)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
	}()
	return lines
}
