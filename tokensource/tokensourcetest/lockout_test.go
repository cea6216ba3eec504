package tokensourcetest_test

import (
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestLockOut(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{LockOut: LockOut{Failures: 3}, CodeLifetime: time.Hour}
	cfg.Now = clock.Now
	p := StartProvider(t, Accelo, cfg)
	good := pinCall(pinOf(t, p, acceloAuthorize...))
	bad := acceloCall("grant_type", "refresh_token", "refresh_token", "no")
	wantLocked := func(r reply) {
		t.Helper()
		if r.status != 401 || r.text("status") != "too_many_failed_logins" || r.header.Get("Retry-After") != "300" {
			t.Errorf("got %d %s, Retry-After %q, want a lock-out of 300 s", r.status, r.body, r.header.Get("Retry-After"))
		}
		if rec := last(t, p.Server); rec.Outcome != "too_many_failed_logins" {
			t.Errorf("record %+v", rec)
		}
	}
	for range 3 {
		wantError(t, bad.send(t, p), 400, "invalid_grant")
	}
	clock.Advance(5 * time.Minute) // old failures do not count
	for range 3 {
		wantError(t, bad.send(t, p), 400, "invalid_grant")
	}
	wantError(t, acceloCall("grant_type", "password").send(t, p), 400, "unsupported_grant_type") // no failure of this kind
	wantLocked(bad.send(t, p))
	clock.Advance(5*time.Minute - time.Second)
	wantLocked(good.send(t, p)) // this restarts the lock-out
	clock.Advance(5*time.Minute - time.Second)
	wantLocked(good.send(t, p))
	clock.Advance(5 * time.Minute)
	wantToken(t, good.send(t, p))
}

func TestLockOutStatus(t *testing.T) {
	p := StartProvider(t, Accelo, ProviderConfig{LockOut: LockOut{Failures: 1, For: 1500 * time.Millisecond, Status: 429}})
	wrong := acceloCall("grant_type", "refresh_token", "refresh_token", "no")
	wrong.password = "no"
	wantError(t, wrong.send(t, p), 401, "invalid_client")
	if r := wrong.send(t, p); r.status != 429 || r.header.Get("Retry-After") != "2" {
		t.Errorf("got %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
	}
}
