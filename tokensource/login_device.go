package tokensource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// Device is the part of a [Login] that only grants with [Traits.Device] have: the codes of the provider (RFC 8628
// section 3.2). Nothing comes back to this process by a browser, so it asks the provider until the person is done.
type Device struct {
	// Code is the device code. The source sends it with each token request.
	Code Secret
	// UserCode is the code that the person types at VerificationURI. Show it only to the person who logs in.
	UserCode Secret
	// VerificationURI is the page of the provider that asks for UserCode: https, or http on loopback.
	VerificationURI string
	// VerificationURIComplete is that page with the code filled in. It is empty if the provider sent none.
	VerificationURIComplete Secret
	// Ends is when the codes end, by the local wall clock.
	Ends time.Time
	// Interval is the shortest time between two token requests. It grows if the provider answers slow_down.
	Interval time.Duration
	// Failed is why the login has ended without a token, or nil while the person may still finish it.
	Failed *Error

	// holder is the process that asks the provider, until heldUntil. Then any other process may.
	holder    string
	heldUntil time.Time
}

// storedDevice is the stored form of a [Device].
type storedDevice struct {
	Code      string         `json:"code,omitempty"`
	UserCode  string         `json:"user_code,omitempty"`
	URI       string         `json:"verification_uri"`
	Complete  string         `json:"verification_uri_complete,omitempty"`
	Ends      time.Time      `json:"ends"`
	Interval  float64        `json:"interval"`
	Holder    string         `json:"holder,omitempty"`
	HeldUntil time.Time      `json:"held_until,omitzero"`
	Failure   *storedFailure `json:"failure,omitempty"`
}

// storedFailure is the stored form of [Device.Failed].
type storedFailure struct {
	Class  Class  `json:"class"`
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason"`
	Status int    `json:"status,omitempty"`
}

func (d *Device) storedForm() *storedDevice {
	if d == nil {
		return nil
	}
	st := &storedDevice{
		Code: d.Code.Reveal(), UserCode: d.UserCode.Reveal(), URI: d.VerificationURI, Complete: d.VerificationURIComplete.Reveal(),
		Ends: d.Ends, Interval: d.Interval.Seconds(), Holder: d.holder, HeldUntil: d.heldUntil,
	}
	if e := d.Failed; e != nil {
		st.Code, st.UserCode, st.Complete = "", "", "" // they are of no use any more
		st.Failure = &storedFailure{e.Class, e.Code, e.Reason, e.Status}
	}
	return st
}

// page returns where to send the person: with the code, if the provider can fill it in.
func (d *Device) page() Secret {
	switch {
	case d == nil:
		return Secret{}
	case d.VerificationURIComplete.IsZero():
		return NewSecret(d.VerificationURI)
	}
	return d.VerificationURIComplete
}

func (st *storedDevice) device() *Device {
	if st == nil {
		return nil
	}
	d := &Device{
		Code: NewSecret(st.Code), UserCode: NewSecret(st.UserCode), VerificationURI: st.URI, VerificationURIComplete: NewSecret(st.Complete),
		Ends: st.Ends, Interval: time.Duration(st.Interval * float64(time.Second)), holder: st.Holder, heldUntil: st.HeldUntil,
	}
	if f := st.Failure; f != nil {
		d.Failed = &Error{Class: f.Class, Code: f.Code, Reason: f.Reason, Status: f.Status}
	}
	return d
}

// Asking for the token of a device login.
const (
	// deviceInterval is the pause between two token requests if the provider names none (RFC 8628 section 3.2).
	deviceInterval = 5 * time.Second
	// deviceSlower is what the pause grows by, for good, if the provider answers slow_down (section 3.5).
	deviceSlower = 5 * time.Second
	// devicePauseLimit bounds the pause, which doubles with each request that gets no answer (section 3.5).
	devicePauseLimit = time.Minute
	// deviceLifetimeLimit bounds how long a device login may take, whatever the provider says.
	deviceLifetimeLimit = time.Hour
	// deviceHold is how much longer than its next request takes a process keeps others from asking.
	deviceHold = 5 * time.Second
)

// deviceKey returns the storage key of an account's device login. An account has one: a newer login replaces it.
func (s *Source) deviceKey(account string) string {
	id := fmt.Sprintf("%q", []string{s.prefix(), "device", account})
	return loginPrefix + digest([]byte(id)) + ".json"
}

// beginDevice requests the codes of a login, and begins to ask for its token.
func (s *Source) beginDevice(ctx context.Context, grant Interactive, l *Login) error {
	params, err := s.authorizationParams(ctx, grant.Authorize(l))
	if err != nil {
		return err
	}
	if failure := s.wire.deviceAuthorization(ctx, l, params); failure != nil {
		return failure
	}
	l.URL = l.Device.page()
	s.hold(l.Device, l.Device.Interval)
	if err := s.storeLogin(ctx, l); err != nil {
		return unkept(err)
	}
	s.follow(l)
	return nil
}

// PendingLogin returns the account's device login, or nil if there is none. After the login has failed, it returns the
// login for another [LoginLifetime], with [Device.Failed]. Its error is an [*Error]: the storage cannot be read.
func (s *Source) PendingLogin(ctx context.Context, account string) (*Login, error) {
	if !s.traits.Device {
		return nil, nil
	}
	l, err := s.deviceLogin(ctx, account)
	if err != nil {
		return nil, s.loginError(account, unreadable(err))
	}
	if l != nil && l.Device.Failed != nil {
		l.Device.Failed.Source, l.Device.Failed.Account = s.cfg.Name, account
	}
	return l, nil
}

// deviceLogin reads the account's device login, or returns nil.
func (s *Source) deviceLogin(ctx context.Context, account string) (*Login, error) {
	st, err := vault.Get[storedLogin](ctx, s.vault, s.deviceKey(account))
	if err != nil || st == nil || st.Device == nil {
		return nil, err
	}
	now := s.cfg.Clock.Now()
	if now.After(st.until()) || st.Begun.Sub(now) > LoginLifetime {
		return nil, nil
	}
	l := st.login(s.cfg.Name)
	if l.Device.Failed == nil && !now.Before(l.Device.Ends) {
		l.Device.Failed = deviceTooLate()
	}
	return l, nil
}

func deviceTooLate() *Error {
	return &Error{Class: ClassLogin, Code: "expired_token", Reason: "the code ended before access was allowed at the provider"}
}

// AwaitLogin waits until a device login has ended, and returns nil if the account is connected. If another login of the
// account replaced it, or if it was cancelled, the error is [ErrNoLogin]. The login goes on
// if ctx is cancelled; see [Source.CancelLogin].
func (s *Source) AwaitLogin(ctx context.Context, l *Login) error {
	if l.Device == nil {
		return s.loginError(l.Account, ErrNotInteractive)
	}
	asked := s.follow(l)
	select {
	case <-asked.done:
		return asked.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ResumeLogin lets this process ask for the token of a device login, if the process that began it has ended. It returns
// at once.
func (s *Source) ResumeLogin(l *Login) {
	if l.Device != nil && l.Device.Failed == nil {
		s.follow(l)
	}
}

// ResumeLogins does the same for all accounts, in the background: a login outlives the process that began it.
func (s *Source) ResumeLogins() {
	if !s.traits.Device || !s.begin() {
		return
	}
	go func() {
		defer s.running.Done()
		ctx := context.Background()
		keys, err := s.vault.List(ctx, loginPrefix)
		if err != nil {
			return // whoever opens the page resumes the login that is shown
		}
		for _, key := range keys {
			st, err := vault.Get[storedLogin](ctx, s.vault, key)
			if err != nil || st == nil || st.Device == nil || s.deviceKey(st.Account) != key {
				continue
			}
			if l, err := s.deviceLogin(ctx, st.Account); err == nil && l != nil {
				s.ResumeLogin(l)
			}
		}
	}()
}

// deviceAsking is a goroutine that asks for the token of a device login.
type deviceAsking struct {
	done chan struct{}
	err  error // set before done is closed
}

// follow returns the goroutine that asks for the token of l, and starts it if there is none. A goroutine for an older
// login of the account ends by itself.
func (s *Source) follow(l *Login) *deviceAsking {
	s.asking.Lock()
	defer s.asking.Unlock()
	id := l.State.Reveal()
	if known := s.devices[id]; known != nil {
		return known
	}
	asking := &deviceAsking{done: make(chan struct{})}
	if !s.begin() {
		asking.err = s.loginError(l.Account, errClosed())
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
		switch {
		case errors.Is(err, ErrNoLogin) && s.connectedSince(ctx, l):
			err = nil // another process finished it
		case errors.Is(err, ErrNoLogin), errors.Is(err, ErrClosed):
			err = s.loginError(l.Account, err) // nothing failed
		case err != nil:
			err = s.failedLogin(ctx, l.Account, err)
		}
		asking.err = err
		close(asking.done)
	}()
	return asking
}

// connectedSince reports whether the account was connected after l began. It puts the stored record to use.
func (s *Source) connectedSince(ctx context.Context, l *Login) bool {
	a := s.pin(l.Account)
	defer a.unpin()
	found, err := a.load(ctx)
	if err != nil || found == nil || found.Disconnected || !found.Decided.After(l.Begun) {
		return false
	}
	_ = a.sync(ctx)
	return true
}

// askDevice asks for the token of a login until the provider grants or refuses it, or the codes end (RFC 8628 sections
// 3.4 and 3.5).
func (s *Source) askDevice(ctx context.Context, l *Login) error {
	pause, unanswered := l.Device.Interval, 0
	for {
		if !s.rest(min(pause, max(l.Device.Ends.Sub(s.cfg.Clock.Now()), 0))) {
			return errClosed()
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

// mayPass reports whether a failure of a token request says nothing about the login.
func mayPass(failure *Error) bool {
	trouble := failure.Status >= http.StatusInternalServerError || failure.Status == http.StatusTooManyRequests
	return failure.Class == ClassWait && (failure.Code == "" || trouble || slices.Contains(transientCodes, failure.Code))
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

// takeTurn notes in the storage that this process asks for the token of l, so that no other process does, and returns
// the login as it is stored. It returns nil if this process must not ask now, and how long to wait. If the login has
// ended, takeTurn returns an error.
func (s *Source) takeTurn(ctx context.Context, l *Login, pause time.Duration) (current *Login, wait time.Duration, err error) {
	// If the lock cannot be taken, go on: at worst two processes ask, and the provider says slow_down.
	unlock, _ := s.vault.Lock(ctx, s.deviceKey(l.Account)+".lock", loginLock)
	defer unlock()
	current, err = s.deviceLogin(ctx, l.Account)
	switch {
	case err != nil:
		return nil, l.Device.Interval, nil
	case current == nil || !current.State.Equal(l.State):
		return nil, 0, ErrNoLogin
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

// hold notes in d that only this process asks, until after its next request. The pause before that is at most twice the
// last one.
func (s *Source) hold(d *Device, pause time.Duration) {
	wait := s.cfg.Timeout + 2*max(pause, d.Interval) + deviceHold
	d.holder, d.heldUntil = s.owner, s.cfg.Clock.Now().Round(0).UTC().Add(wait)
}

// redeemDevice makes one token request, and puts what it brings into use.
func (s *Source) redeemDevice(ctx context.Context, l *Login) *Error {
	req, err := s.cfg.Grant.(Interactive).Redeem(l, url.Values{})
	if err != nil {
		return asFailure(err)
	}
	a := s.pin(l.Account)
	defer a.unpin()
	return a.connect(ctx, l, req, func() error { return s.endTaken(ctx, l) })
}

// asFailure returns err as an [*Error].
func asFailure(err error) *Error {
	var failure *Error
	if errors.As(err, &failure) {
		return failure
	}
	return &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
}

// endTaken removes a login that the provider granted. It fails if the login was cancelled or replaced meanwhile.
func (s *Source) endTaken(ctx context.Context, l *Login) error {
	unlock, _ := s.vault.Lock(ctx, s.deviceKey(l.Account)+".lock", loginLock)
	defer unlock()
	if current, err := s.deviceLogin(ctx, l.Account); err == nil && (current == nil || !current.State.Equal(l.State)) {
		return &Error{Class: ClassLogin, Reason: ErrNoLogin.Error(), cause: ErrNoLogin}
	}
	_ = s.vault.Delete(ctx, s.deviceKey(l.Account)) // if this fails, the provider refuses the code from now on
	s.begun.done()
	return nil
}

// endDevice stores why a login failed, so that every process can show it.
func (s *Source) endDevice(ctx context.Context, l *Login, failure *Error) error {
	switch failure.Code {
	case "access_denied", "authorization_declined": // the latter is Entra's
		failure = &Error{Class: ClassLogin, Code: "access_denied", Reason: "access was denied at the provider"}
	case "expired_token":
		failure = deviceTooLate()
	}
	if failure.Class == ClassWait {
		failure.Class = ClassLogin // nothing is tried again
	}
	unlock, _ := s.vault.Lock(ctx, s.deviceKey(l.Account)+".lock", loginLock)
	defer unlock()
	if current, err := s.deviceLogin(ctx, l.Account); err == nil && (current == nil || !current.State.Equal(l.State)) {
		return ErrNoLogin
	}
	return s.storeFailed(ctx, l, failure)
}

// storeFailed stores why a login failed, and returns failure.
func (s *Source) storeFailed(ctx context.Context, l *Login, failure *Error) error {
	ended := *l
	device := *l.Device
	device.Failed = failure
	ended.Device, ended.Verifier, ended.Binding = &device, Secret{}, Secret{}
	_ = s.storeLogin(ctx, &ended) // without it, the login is shown until its codes end
	s.begun.done()
	return failure
}

// dropDevice removes a device login, unless a newer one has replaced it.
func (s *Source) dropDevice(ctx context.Context, l *Login) error {
	unlock, _ := s.vault.Lock(ctx, s.deviceKey(l.Account)+".lock", loginLock)
	defer unlock()
	current, err := s.deviceLogin(ctx, l.Account)
	if err != nil || current == nil || !current.State.Equal(l.State) {
		return err
	}
	return s.vault.Delete(ctx, s.deviceKey(l.Account))
}
