package tokensource

import (
	"context"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// Device is the part of a [Login] that only grants with [Traits.Device] have: the codes of the
// provider (RFC 8628 section 3.2). No browser returns to this process, so it asks the provider
// until the person has finished.
type Device struct {
	// Code is the device code. The source sends it with each token request.
	Code Secret
	// UserCode is the code that the person types at VerificationURI. Show it only to the person who
	// logs in.
	UserCode Secret
	// VerificationURI is the page of the provider that asks for UserCode: https, or http on
	// loopback.
	VerificationURI string
	// VerificationURIComplete is the address of that page with the code filled in. It is empty if
	// the provider did not send it.
	VerificationURIComplete Secret
	// Ends is when the codes expire, by the local wall clock.
	Ends time.Time
	// Interval is the shortest time between two token requests. It grows if the provider answers
	// slow_down.
	Interval time.Duration
	// Failed is why the login has ended without a token, or nil while the person may still finish
	// it.
	Failed *Error

	// holder is the process that asks the provider until heldUntil. After that, any process may
	// ask.
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
		Code: d.Code.Reveal(), UserCode: d.UserCode.Reveal(), URI: d.VerificationURI,
		Complete: d.VerificationURIComplete.Reveal(),
		Ends:     d.Ends, Interval: d.Interval.Seconds(), Holder: d.holder, HeldUntil: d.heldUntil,
	}
	if e := d.Failed; e != nil {
		st.Code, st.UserCode, st.Complete = "", "", "" // they are of no use any more
		st.Failure = &storedFailure{e.Class, e.Code, e.Reason, e.Status}
	}
	return st
}

// page returns the address to which the person is sent. It contains the user code if the provider
// sent such an address.
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
		Code: NewSecret(st.Code), UserCode: NewSecret(st.UserCode), VerificationURI: st.URI,
		VerificationURIComplete: NewSecret(st.Complete),
		Ends:                    st.Ends, Interval: time.Duration(st.Interval * float64(time.Second)), holder: st.Holder,
		heldUntil: st.HeldUntil,
	}
	if f := st.Failure; f != nil {
		d.Failed = &Error{Class: f.Class, Code: f.Code, Reason: f.Reason, Status: f.Status}
	}
	return d
}

// Asking for the token of a device login.
const (
	// deviceInterval is the pause between two token requests if the provider names none (RFC 8628
	// section 3.2).
	deviceInterval = 5 * time.Second
	// deviceSlower is added to the pause each time the provider answers slow_down (section 3.5).
	deviceSlower = 5 * time.Second
	// devicePauseLimit limits the pause, which doubles with each request that gets no usable answer
	// (section 3.5).
	devicePauseLimit = time.Minute
	// deviceLifetimeLimit bounds how long a device login may take, whatever the provider says.
	deviceLifetimeLimit = time.Hour
	// deviceHold is added to the time for which a process keeps the others from asking. See
	// [Source.hold].
	deviceHold = 5 * time.Second
)

// deviceKey returns the storage key of an account's device login. An account has one: a newer login
// replaces it.
func (s *Source) deviceKey(account string) string {
	return loginPrefix + digestNames(s.prefix(), "device", account) + ".json"
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
	// A process that asks for the token of an older login stores its turn under this lock.
	unlock, _ := s.vault.Lock(ctx, s.deviceKey(l.Account)+".lock", loginLockTimeout)
	err = s.storeLogin(ctx, l)
	unlock()
	if err != nil {
		return unkept(err)
	}
	s.follow(l)
	return nil
}

// PendingLogin returns the account's device login, or nil if it has none. A login that has failed
// is returned for another [LoginLifetime], with [Device.Failed]. If the storage cannot be read, the
// error is an [*Error].
func (s *Source) PendingLogin(ctx context.Context, account string) (*Login, error) {
	if !s.traits.Device {
		return nil, nil
	}
	l, err := s.deviceLogin(ctx, account)
	if err != nil {
		return nil, s.named(account, unreadable(err))
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
	return &Error{Class: ClassLogin, Code: "expired_token",
		Reason: "the code expired before a person allowed access at the provider"}
}

// AwaitLogin waits until a device login has ended, and returns nil if the account is connected. If
// another login of the account replaced it, or if it was cancelled, the error is [ErrNoLogin]. The
// login continues if ctx is cancelled; see [Source.CancelLogin].
func (s *Source) AwaitLogin(ctx context.Context, l *Login) error {
	if l.Device == nil {
		return s.named(l.Account, ErrNotInteractive)
	}
	asked := s.follow(l)
	select {
	case <-asked.done:
		return asked.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ResumeLogin lets this process ask for the token of a device login, if the process that began it
// has ended. It returns at once.
func (s *Source) ResumeLogin(l *Login) {
	if l.Device != nil && l.Device.Failed == nil {
		s.follow(l)
	}
}

// ResumeLogins calls [Source.ResumeLogin] for the pending login of every account, in the
// background. A pending login can outlive the process that began it.
func (s *Source) ResumeLogins() {
	if !s.traits.Device || !s.begin() {
		return
	}
	go func() {
		defer s.running.Done()
		// After an error, opening the page of an account resumes its login.
		_ = guardedError(func() error { return s.resumeLogins(context.Background()) })
	}()
}

func (s *Source) resumeLogins(ctx context.Context) error {
	keys, err := s.vault.List(ctx, loginPrefix)
	if err != nil {
		return err
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
	return nil
}
