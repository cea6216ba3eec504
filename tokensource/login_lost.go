package tokensource

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// loginLostReason is said before the reason for a login, if the storage takes no writes.
const loginLostReason = "the storage cannot be written, so a login would be lost"

// loginLost returns needed, which asks for a login, as a failure of the storage in the first place.
func loginLost(needed *Error, err error) *Error {
	if err == nil || needed.LoginWouldBeLost() {
		return needed
	}
	e := *needed
	e.cause, e.Class, e.LastLogin = err, ClassLogin, nil
	e.Reason = loginLostReason + "; " + e.Reason
	return e.withFacts(failedStorage("", err).facts())
}

// LoginWouldBeLost reports whether e asks for a login that could not be stored now. Then no person
// should log in before the storage works again.
func (e *Error) LoginWouldBeLost() bool { return strings.HasPrefix(e.Reason, loginLostReason) }

// testWritesEvery is the least pause between two tests of the storage by [Source.TestLogin].
const testWritesEvery = 10 * time.Second

// writeTest is the last test of whether the storage accepts writes.
type writeTest struct {
	mu   sync.Mutex
	next deadline // of the next test; before the first test, it has passed
	err  error
}

// note notes the result of a test.
func (t *writeTest) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

// last returns the result of the last test: nil if the storage accepted writes.
func (t *writeTest) last() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// TestLogin returns the error of [Source.Lookup]. If the error asks for a login, TestLogin first
// tests whether the storage accepts writes. If it does not, the returned [*Error] says so: see
// [Error.LoginWouldBeLost]. Requests may name any account, so the storage is tested at most once in
// 10 seconds.
func (s *Source) TestLogin(ctx context.Context, err error) error {
	needed, ok := errors.AsType[*Error](err)
	if !ok || needed.Class != ClassLogin && needed.LastLogin == nil || !s.stores() {
		return err
	}
	s.testWrites(ctx)
	return loginLost(needed, s.writeTest.last())
}

// testWrites tests whether the storage accepts writes, if the last test was some time ago, and waits
// for the result as long as ctx allows. [Source.Close] waits for the test.
func (s *Source) testWrites(ctx context.Context) {
	t := &s.writeTest
	t.mu.Lock()
	due := s.cfg.Clock.passed(t.next)
	if due {
		t.next = s.cfg.Clock.in(testWritesEvery)
	}
	t.mu.Unlock()
	if !due || !s.begin() {
		return
	}
	done := make(chan struct{})
	go func() {
		defer s.running.Done()
		defer close(done)
		if err := guardedError(func() error { return s.unnamed.probe(context.Background()) }); err != nil {
			t.note(err) // for other requests, too
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
