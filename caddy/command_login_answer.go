package caddy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	// loginAttempts is how often a code may be typed.
	loginAttempts = 3
	// redeemedElsewhere is how long the running server may take to redeem an answer: the default
	// time-out of a token request, and storing what it brought.
	redeemedElsewhere = 20 * time.Second
)

// onDevice waits until the person has allowed access on another device.
func (l *terminalLogin) onDevice(ctx context.Context, login *tokensource.Login) error {
	err := l.Tokens.AwaitLogin(ctx, login)
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.Is(err, tokensource.ErrNoLogin):
		return errors.New("a newer login of this account replaced this one, or it was cancelled; nothing was changed")
	case err != nil:
		fmt.Fprintln(l.out, connect.DeviceFailed(err))
	}
	return err
}

// manual takes the code or PIN that the provider shows.
func (l *terminalLogin) manual(ctx context.Context, login *tokensource.Login) error {
	var err error
	for range loginAttempts {
		fmt.Fprint(l.out, "Code or PIN: ")
		code, gone := l.line(ctx)
		if gone != nil {
			return errors.Join(err, gone)
		}
		if code == "" {
			if l.relinks {
				if _, err = l.show(ctx, login, false); err != nil {
					return err
				}
			}
			continue
		}
		if err = l.Tokens.FinishLogin(ctx, login, url.Values{"code": {code}}); err == nil {
			return nil
		}
		fmt.Fprintln(l.out, connect.TypedCodeFailed(err))
	}
	if err == nil {
		err = errors.New("no code was typed; nothing was changed")
	}
	return err
}

// redirected waits for the answer: on the listener, in the storage, where a running server stores
// it, or in a line that a person pastes.
func (l *terminalLogin) redirected(
	ctx context.Context, login *tokensource.Login, listener net.Listener, before time.Time,
) error {
	answers := make(chan error, 1)
	if listener != nil {
		stop := serveLogin(ctx, listener, l.Source, login, answers)
		defer stop()
	}
	fmt.Fprintln(l.out,
		"Waiting for the answer. If the browser runs on another machine, paste the address that it ends at:")
	watch := time.NewTicker(time.Second)
	defer watch.Stop()
	lines := l.in
	var used time.Time // when the login was first seen to be used
	for {
		select {
		case err := <-answers:
			return err
		case line, open := <-lines:
			if !open {
				lines = nil // the input ended; the answer may still come
				continue
			}
			answer, err := pasted(line, login)
			if err != nil {
				fmt.Fprintln(l.out, err.Error())
				continue
			}
			if answer != nil {
				return l.Tokens.FinishLogin(ctx, login, answer)
			}
			if l.relinks {
				if _, err := l.show(ctx, login, false); err != nil {
					return err
				}
			}
		case <-watch.C:
			// Another process may connect or refresh the account meanwhile. Only this login counts.
			if _, err := l.Tokens.FindLogin(ctx, login.State); !errors.Is(err, tokensource.ErrNoLogin) {
				continue
			}
			if st, err := l.Tokens.Stored(ctx, l.account); err == nil && st.Decided.After(before) && !st.Disconnected {
				return nil
			}
			if err := l.failedElsewhere(ctx, login); err != nil {
				return err
			}
			switch {
			case time.Since(login.Begun) > tokensource.LoginLifetime:
				return fmt.Errorf("no answer came within %s; nothing was changed", tokensource.LoginLifetime)
			case used.IsZero():
				used = time.Now()
			case time.Since(used) > redeemedElsewhere:
				return errors.New("the answer came to the running server, which could not finish the login; " +
					"its page and its log say why")
			}
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

// failedElsewhere asks the running server whether it took the answer and could not finish the
// login, and returns why.
func (l *terminalLogin) failedElsewhere(ctx context.Context, login *tokensource.Login) error {
	if l.server == "" {
		return nil
	}
	var source sourceStatus
	var named accountStatus
	path := accountPath(l.Name, l.account)
	// If the server does not answer, nothing is known of the login, and the caller goes on waiting.
	if l.account == "" {
		_ = getAdmin(ctx, l.server, path, &source)
	} else {
		_ = getAdmin(ctx, l.server, path, &named)
	}
	failed := named.LastLogin
	for _, st := range source.Accounts {
		if st.Account == "" {
			failed = st.LastLogin
		}
	}
	if failed == nil || failed.Failed.Before(login.Begun) {
		return nil
	}
	return errors.New("the answer came to the running server, which could not finish the login: " +
		withRemedy(failed.Error, failed.Remedy))
}

// serveLogin takes the provider's answer to a login that was begun in a terminal, and sends the
// result to results, once. The returned function waits until the browser got its answer.
func serveLogin(
	ctx context.Context, listener net.Listener, s connect.Source, login *tokensource.Login, results chan<- error,
) (stop func()) {
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: connect.Terminal(ctx, s, login, results)}
	go func() { _ = server.Serve(listener) }() // ends with Shutdown
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // an error means that the browser did not read its answer in time
	}
}
