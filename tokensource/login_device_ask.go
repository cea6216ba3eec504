package tokensource

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// deviceAsking is a goroutine that asks for the token of a device login.
type deviceAsking struct {
	done chan struct{}
	err  error // set before done is closed
}

// follow returns the goroutine that asks for the token of l, and starts it if there is none. A
// goroutine for an older login of the account ends at its next turn.
func (s *Source) follow(l *Login) *deviceAsking {
	s.asking.Lock()
	defer s.asking.Unlock()
	id := l.State.Reveal()
	if known := s.devices[id]; known != nil {
		return known
	}
	asking := &deviceAsking{done: make(chan struct{})}
	if !s.begin() {
		asking.err = s.named(l.Account, errClosed())
		close(asking.done)
		return asking
	}
	own, device := *l, *l.Device // the caller may change l
	own.Device, l = &device, &own
	if s.devices == nil {
		s.devices = make(map[string]*deviceAsking)
	}
	s.devices[id] = asking
	go func() {
		defer s.running.Done()
		ctx := context.Background()
		err := guardedError(func() error { return s.askDevice(ctx, l) })
		s.asking.Lock()
		delete(s.devices, id)
		s.asking.Unlock()
		if !errors.Is(err, ErrClosed) {
			s.begun.done(l)
		}
		switch {
		case errors.Is(err, ErrNoLogin) && s.connectedSince(ctx, l):
			err = nil // another process finished it
		case errors.Is(err, ErrNoLogin), errors.Is(err, ErrClosed):
			err = s.named(l.Account, err) // nothing failed
		case err != nil:
			err = s.failedLogin(ctx, l.Account, err)
		}
		asking.err = err
		close(asking.done)
	}()
	return asking
}

// connectedSince reports whether the account was connected after l began. If so, it loads the
// stored record.
func (s *Source) connectedSince(ctx context.Context, l *Login) bool {
	a := s.pin(&Account{src: s, name: l.Account})
	defer a.unpin()
	found, err := a.load(ctx)
	if err != nil || found == nil || found.Disconnected || !found.Decided.After(l.Begun) {
		return false
	}
	_ = a.sync(ctx)
	return true
}

// askDevice asks for the token of a login until the provider grants or refuses it, or the codes end
// (RFC 8628 sections 3.4 and 3.5).
func (s *Source) askDevice(ctx context.Context, l *Login) error {
	pause, unanswered := l.Device.Interval, 0
	for {
		left := l.Device.Ends.Sub(s.cfg.Clock.Now())
		if left > 0 { // ask once more at the end of the codes; after it, the storage is still out of reach
			pause = min(pause, left)
		}
		if !s.rest(pause) {
			return errClosed()
		}
		if left < -LoginLifetime { // no process keeps the login any more
			return deviceTooLate()
		}
		current, wait, err := s.takeTurn(ctx, l, pause)
		switch {
		case err != nil:
			return err
		case current == nil: // another process asks, or the storage fails
			pause = wait
			continue
		}
		failure := s.redeemDevice(ctx, current)
		if failure == nil {
			return nil
		}
		interval := current.Device.Interval
		switch {
		case failure.Code == "authorization_pending":
			pause, unanswered = interval, 0
		case failure.Code == "slow_down":
			// It applies to this and all later requests. The next turn stores it.
			l.Device.Interval = interval + deviceSlower
			pause, unanswered = l.Device.Interval, 0
		case mayPass(failure):
			unanswered++
			pause = max(interval, min(interval<<min(unanswered, 6), devicePauseLimit))
		default: // "the client MUST stop polling" after any other error code
			return s.endDevice(ctx, current, failure)
		}
		pause = max(pause, failure.RetryAt.Sub(s.cfg.Clock.Now()))
	}
}

// mayPass reports whether a failure of a token request is temporary, and says nothing about the
// login.
func mayPass(failure *Error) bool {
	trouble := failure.Status >= http.StatusInternalServerError || failure.Status == http.StatusTooManyRequests
	return failure.Class == ClassWait && (failure.Code == "" || trouble || codes[failure.Code] == meansTransient)
}

// rest waits for d, and reports whether the source is still open.
func (s *Source) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closing:
		return false
	}
}

// lockDevice takes the lock of the account's device login, and reads the stored login. If that is
// not l any more, because l was cancelled, replaced or finished, the error is [ErrNoLogin]. If the
// lock cannot be taken, go on: at worst two processes ask, and the provider says slow_down. unlock
// must always be called.
func (s *Source) lockDevice(ctx context.Context, l *Login) (current *Login, unlock func(), err error) {
	unlock, _ = s.vault.Lock(ctx, s.deviceKey(l.Account)+".lock", loginLockTimeout)
	current, err = s.deviceLogin(ctx, l.Account)
	if err == nil && (current == nil || !current.State.Equal(l.State)) {
		return nil, unlock, ErrNoLogin
	}
	return current, unlock, err
}

// takeTurn stores that this process asks for the token of l, so that no other process asks. It then
// returns the stored login. If this process must not ask now, it returns nil and how long to wait.
// If the login has ended, it returns an error.
func (s *Source) takeTurn(ctx context.Context, l *Login,
	pause time.Duration) (current *Login, wait time.Duration, err error) {
	current, unlock, err := s.lockDevice(ctx, l)
	defer unlock()
	switch {
	case errors.Is(err, ErrNoLogin):
		return nil, 0, err
	case err != nil:
		return nil, l.Device.Interval, nil
	case current.Device.Failed != nil && current.Device.Code.IsZero():
		return nil, 0, current.Device.Failed // another process ended it
	case current.Device.Failed != nil:
		return nil, 0, s.storeFailed(ctx, current, current.Device.Failed)
	}
	d := current.Device
	if left := d.heldUntil.Sub(s.cfg.Clock.Now()); d.holder != s.owner && left > 0 && left < deviceLifetimeLimit {
		return nil, left, nil
	}
	d.Interval = max(d.Interval, l.Device.Interval)
	s.hold(d, pause)
	if err := s.storeLogin(ctx, current); err != nil {
		return nil, d.Interval, nil // a token could not be stored, so ask for none
	}
	return current, 0, nil
}

// hold reserves the login for this process until after its next request. The pause before that
// request is at most twice the last one.
func (s *Source) hold(d *Device, pause time.Duration) {
	wait := s.cfg.Timeout + 2*max(pause, d.Interval) + deviceHold
	d.holder, d.heldUntil = s.owner, s.cfg.Clock.Now().Round(0).UTC().Add(wait)
}

// redeemDevice makes one token request, and puts the token that it returns into use.
func (s *Source) redeemDevice(ctx context.Context, l *Login) *Error {
	req, err := s.cfg.Grant.(Interactive).Redeem(l, url.Values{})
	if err != nil {
		return asFailure(err)
	}
	a := s.pin(&Account{src: s, name: l.Account})
	defer a.unpin()
	return a.connect(ctx, l, req, func() error { return s.endTaken(ctx, l) })
}

// endTaken removes a login that the provider granted. It fails if the login was cancelled or
// replaced meanwhile.
func (s *Source) endTaken(ctx context.Context, l *Login) error {
	_, unlock, err := s.lockDevice(ctx, l)
	defer unlock()
	if errors.Is(err, ErrNoLogin) {
		return &Error{Class: ClassLogin, Reason: ErrNoLogin.Error(), cause: ErrNoLogin}
	}
	_ = s.vault.Delete(ctx, s.deviceKey(l.Account)) // if this fails, the provider refuses the code from now on
	return nil
}

// endDevice stores why a login failed, so that every process can show it.
func (s *Source) endDevice(ctx context.Context, l *Login, failure *Error) error {
	switch {
	case codes[failure.Code] == meansDenied:
		failure = &Error{Class: ClassLogin, Code: "access_denied", Reason: "access was denied at the provider"}
	case failure.Code == "expired_token":
		failure = deviceTooLate()
	}
	if failure.Class == ClassWait {
		failure.Class = ClassLogin // there is no further request, so a person must log in again
	}
	_, unlock, err := s.lockDevice(ctx, l)
	defer unlock()
	if errors.Is(err, ErrNoLogin) {
		return err
	}
	return s.storeFailed(ctx, l, failure)
}

// storeFailed stores why a login failed, and returns failure.
func (s *Source) storeFailed(ctx context.Context, l *Login, failure *Error) error {
	ended := *l
	device := *l.Device
	device.Failed = failure
	ended.Device, ended.Verifier, ended.Binding = &device, Secret{}, Secret{}
	_ = s.storeLogin(ctx, &ended) // if this fails, the login is shown until its codes expire
	return failure
}

// dropDevice removes a device login, unless a newer one has replaced it.
func (s *Source) dropDevice(ctx context.Context, l *Login) error {
	_, unlock, err := s.lockDevice(ctx, l)
	defer unlock()
	switch {
	case errors.Is(err, ErrNoLogin):
		return nil
	case err != nil:
		return err
	}
	return s.vault.Delete(ctx, s.deviceKey(l.Account))
}
