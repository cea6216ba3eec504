package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

var errDisk = errors.New("no space left on device")

// While a token lives, no refresh token is spent if its successor could not be stored. Once the
// storage accepts writes again, the refresh follows.
func TestNoRequestWhileStorageTakesNoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		var ev events
		src := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
		src.Warm()
		synctest.Wait()
		storage.fail(nil, errDisk)
		virtual.Advance(57 * time.Minute)
		wantToken(t, src, "at1")
		wantCount(t, ep, 1)
		if ev.count(tokensource.EventStorageFailed) == 0 {
			t.Error("the observer was not told of the storage failure")
		}
		if err := src.Account("").Status().StorageErr; !errors.Is(err, errDisk) {
			t.Errorf("the status has the storage's error %v", err)
		}
		storage.fail(nil, nil)
		virtual.Advance(40 * time.Second)
		wantToken(t, src, "at2")
		if err := src.Account("").Status().StorageErr; err != nil || ev.count(tokensource.EventStorageRecovered) != 1 {
			t.Errorf("after the repair: the storage's error %v, recovered %d times", err,
				ev.count(tokensource.EventStorageRecovered))
		}
		wantCount(t, ep, 2)
	})
}

// Without a live token, a storage outage does not stop the service if no other process uses the
// storage.
func TestExpiredTokenIsReplacedThoughStorageTakesNoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := alone()
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		wantToken(t, src, "at1")
		storage.fail(nil, errDisk)
		virtual.Advance(2 * time.Hour)
		wantToken(t, src, "at2")
		if !src.Account("").Status().Unsaved {
			t.Error("the status does not say that the record is unsaved")
		}
	})
}

// A deferred refresh is sent as soon as the token ends, however long the pause between attempts has
// become. A caller at that moment gets the new token, even from a slow provider.
func TestPostponedRefreshIsMadeWhenTheTokenEnds(t *testing.T) {
	for name, warm := range map[string]bool{"kept warm": true, "used only": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := alone()
				ep := &endpoint{script: func(n int, _ url.Values) reply {
					r := rotated(n, time.Hour)
					r.delay = 2 * time.Second
					return r
				}}
				src := newSource(t, ep, refreshing(storage, "rt0"))
				if warm {
					src.Warm()
				}
				tok := wantToken(t, src, "at1")
				storage.fail(errDisk, errDisk)
				for range 3 {
					for time.Now().Before(tok.Expiry) {
						virtual.Advance(100 * time.Millisecond)
						mustToken(t, src)
					}
					tok = mustToken(t, src)
				}
				wantCount(t, ep, 4)
			})
		})
	}
}

// A token that cannot be stored is served, and stored as soon as the storage works. That happens by
// itself before the next refresh, whether or not the token is kept warm.
func TestUnsavedRecordIsStoredLater(t *testing.T) {
	for name, warm := range map[string]bool{"kept warm": true, "used only": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &steps{}
				ep := &endpoint{script: func(n int, _ url.Values) reply {
					storage.fail(nil, errDisk)
					return rotated(n, time.Hour)
				}}
				src := newSource(t, ep, refreshing(storage, "rt0"))
				if warm {
					src.Warm()
				}
				wantToken(t, src, "at1")
				virtual.Advance(5 * time.Minute)
				wantToken(t, src, "at1")
				storage.fail(nil, nil)
				virtual.Advance(40 * time.Second)
				if got := stored(t, storage).RefreshToken.Reveal(); got != "rt1" {
					t.Errorf("stored %q, want rt1", got)
				}
				if st := src.Account("").Status(); st.Unsaved || st.Err != nil || st.State != tokensource.StateFresh {
					t.Errorf("status %+v", st)
				}
				wantCount(t, ep, 1)
				wantToken(t, src, "at1")
			})
		})
	}
}

// Close stores a record that could not be stored before.
func TestCloseStoresTheUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			storage.fail(nil, errDisk)
			return rotated(n, time.Hour)
		}}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		wantToken(t, src, "at1")
		storage.fail(nil, nil)
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := stored(t, storage).RefreshToken.Reveal(); got != "rt1" {
			t.Errorf("stored %q, want rt1", got)
		}
	})
}

// A record that is stored late does not overwrite a newer one.
func TestUnsavedRecordIsNotStoredOverANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			storage.fail(nil, errDisk)
			return rotated(n, time.Hour)
		}}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		wantToken(t, src, "at1")
		storage.fail(nil, nil)
		put(t, storage, record(9, "other", "rt9", time.Hour))
		virtual.Advance(time.Minute)
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := stored(t, storage).RefreshToken.Reveal(); got != "rt9" {
			t.Errorf("stored %q, want the newer rt9", got)
		}
	})
}

// An access token that was never usable does not become usable by being stored late.
func TestUnusableAnswerStoredLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		ep := &endpoint{}
		ep.script = func(n int, _ url.Values) reply {
			if n == 1 {
				return rotated(n, time.Hour)
			}
			storage.fail(nil, errDisk)
			return reply{body: `{"access_token":"x","token_type":"mac","refresh_token":"rt2"}`}
		}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		tok := wantToken(t, src, "at1")
		_, err := src.Account("").Reject(t.Context(), tok)
		asError(t, err, tokensource.ClassOperator)
		for range 100 {
			storage.fail(nil, nil)
			virtual.Advance(10 * time.Second)
			wantToken(t, src, "at1")
		}
	})
}

// A storage that cannot be read is an outage that passes, not a missing record. Nothing is sent,
// because an old refresh token might be spent.
func TestUnreadableStorageAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		put(t, storage, record(3, "at3", "rt3", time.Hour))
		storage.fail(errDisk, nil)
		ep := &endpoint{}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		src.Warm()
		for range 100 {
			wantError(t, src, tokensource.ClassWait)
			virtual.Advance(time.Second)
		}
		wantCount(t, ep, 0)
		storage.fail(nil, nil)
		virtual.Advance(40 * time.Second)
		wantToken(t, src, "at3")
		wantCount(t, ep, 0)
	})
}

// If a dead grant cannot be noted in the storage, its refresh token is still not sent again and
// again. Nor is the record overwritten if it cannot be read.
func TestDeadGrantWithBrokenStorage(t *testing.T) {
	for name, broken := range map[string][2]error{"no writes": {nil, errDisk}, "no reads": {errDisk, nil}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &steps{}
				put(t, storage, record(3, "", "rt3", 0))
				ep := &endpoint{script: func(int, url.Values) reply {
					storage.fail(broken[0], broken[1])
					return refused(400, "invalid_grant")
				}}
				src := newSource(t, ep, refreshing(storage, ""))
				src.Warm()
				virtual.Advance(10 * time.Minute)
				e := wantError(t, src, tokensource.ClassLogin)
				if strings.Contains(e.Remedy(), "connect the account") || !strings.Contains(e.Remedy(), "get a new refresh token from") {
					t.Errorf("no person connects the account: %s", e.Remedy())
				}
				wantCount(t, ep, 1)
				storage.fail(nil, nil)
				put(t, storage, record(4, "at4", "rt4", time.Hour))
				virtual.Advance(3 * time.Second)
				wantToken(t, src, "at4")
			})
		})
	}
}

// If a record is damaged, of a newer release, or another account's, the error is of class operator.
// Nothing is sent, and the record is not overwritten.
func TestRecordThatMustNotBeTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m tokensource.MemoryStorage
		put(t, &m, record(3, "at3", "rt3", time.Hour))
		whole, _ := m.Load(t.Context(), recordKey)
		other, err := tokensource.EncodeRecord(&tokensource.Record{Source: "orders", Account: "somebody",
			RefreshToken: tokensource.NewSecret("rt")})
		if err != nil {
			t.Fatal(err)
		}
		bad := map[string][]byte{
			"newer":           []byte(`{"version":2,"whatever":true}`),
			"edited":          []byte(strings.Replace(string(whole), "rt3", "rt4", 1)),
			"other account's": other,
			"version 0":       []byte(strings.Replace(string(whole), `"version":1`, `"version":0`, 1)),
			"null":            []byte("null"),
		}
		for i := range whole {
			bad["cut at "+string(rune('0'+i%10))+strings.Repeat("+", i/10)] = whole[:i]
		}
		for name, data := range bad {
			var storage tokensource.MemoryStorage
			if err := storage.Store(t.Context(), recordKey, data); err != nil {
				t.Fatal(err)
			}
			ep := &endpoint{}
			src := newSource(t, ep, refreshing(&storage, "rt0"))
			src.Warm()
			virtual.Advance(5 * time.Minute)
			wantError(t, src, tokensource.ClassOperator)
			wantCount(t, ep, 0)
			if now, _ := storage.Load(t.Context(), recordKey); string(now) != string(data) {
				t.Errorf("%s: the record was overwritten", name)
			}
			if err := src.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// While the newest token is not stored, the status says so, also while the next refresh waits for
// the storage. The event has the same remedy.
func TestAnUnsavedTokenIsAProblemAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			if n == 2 {
				storage.fail(nil, errDisk)
			}
			return rotated(n, time.Hour)
		}}
		var ev events
		src := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
		src.Warm()
		synctest.Wait()
		for range 130 {
			virtual.Advance(time.Minute)
			st := src.Account("").Status()
			if !st.Unsaved {
				continue
			}
			warned := ""
			for _, problem := range st.Problems() {
				if strings.Contains(problem.Error(), "a restart would lose the newest token") {
					warned = problem.Remedy()
				}
			}
			if !strings.Contains(warned, "Do not restart or reload the server") {
				t.Fatalf("%s: unsaved, but the problems are %v", st.State, st.Problems())
			}
			if st.Live && st.Err != nil && strings.Contains(st.Err.Error(), "the refresh waits") {
				t.Fatalf("the token is in use, and the error says %v", st.Err)
			}
			for _, e := range ev.all() {
				if e.Kind == tokensource.EventStorageFailed && (e.Failure == nil || e.Failure.Remedy() != warned) {
					t.Fatalf("the event says %v, the status %q", e.Failure, warned)
				}
			}
		}
		if ev.count(tokensource.EventStorageFailed) == 0 {
			t.Fatal("the storage did not fail")
		}
	})
}

// A storage that fails only after the request was sent put nothing off: the event says what it
// could not do, reading or writing.
func TestTheStorageFailsAfterTheRequest(t *testing.T) {
	for want, fails := range map[string]struct{ load, store error }{
		"the storage cannot be read":    {errDisk, nil},
		"the storage cannot be written": {nil, errDisk},
	} {
		synctest.Test(t, func(t *testing.T) {
			storage := &steps{}
			ep := &endpoint{script: func(int, url.Values) reply {
				storage.fail(fails.load, fails.store)
				return reply{err: errReset}
			}}
			var ev events
			src := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
			wantError(t, src, tokensource.ClassWait)
			synctest.Wait() // for the report, which follows the result
			for _, e := range ev.all() {
				if e.Kind == tokensource.EventStorageFailed && (e.Failure == nil || e.Failure.Reason != want) {
					t.Errorf("the event says %v, want %q", e.Failure, want)
				}
			}
			if ev.count(tokensource.EventStorageFailed) == 0 {
				t.Error("no event")
			}
		})
	}
}

// A source that waits for its first login tests the storage: a login would be lost if it takes no
// writes. It tests it once, and while it fails. Named accounts, which clients may invent, write
// nothing.
func TestTheStorageIsTestedBeforeALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &writes{steps: &steps{}}
		storage.fail(nil, errDisk)
		var ev events
		src := newSource(t, rotating(0), connecting(storage), observed(&ev))
		src.Warm()
		for range 3 {
			virtual.Advance(time.Minute)
			st := src.Account("").Status()
			if st.State != tokensource.StateNone && st.State != tokensource.StateLoginRequired || st.StorageErr == nil {
				t.Errorf("state %s, the storage says %v", st.State, st.StorageErr)
			}
			if problems := fmt.Sprint(st.Problems()); !strings.Contains(problems, "the storage cannot be written, so a login "+
				"would be lost; the account is not connected yet") {
				t.Errorf("the problems are %s", problems)
			}
			if st.Err.Problem() != "storage_login" || st.Err.Remedy() != "make the storage writable for this process, and "+
				"check that it is not full. Then connect the account on the page of authinject_connect, or run: caddy "+
				"authinject login orders" {
				t.Errorf("%s: %s", st.Err.Problem(), st.Err.Remedy())
			}
			if _, err := src.Token(t.Context()); err == nil ||
				!strings.Contains(err.Error(), "so a login would be lost; the account is not connected yet") {
				t.Errorf("a caller gets %v", err)
			}
		}
		if ev.count(tokensource.EventStorageFailed) == 0 || ev.count(tokensource.EventStorageRecovered) != 0 {
			t.Errorf("events %+v", ev.all())
		}
		storage.fail(nil, nil)
		virtual.Advance(time.Minute)
		if st := src.Account("").Status(); st.StorageErr != nil || st.Err.Problem() != "not_connected" ||
			ev.count(tokensource.EventStorageRecovered) != 1 {
			t.Errorf("the storage works again, and says %v", st.StorageErr)
		}
		written := storage.count.Load()
		virtual.Advance(time.Hour)
		_, _ = src.Account("invented").Token(t.Context())
		virtual.Advance(time.Minute)
		if n := storage.count.Load(); written == 0 || n != written {
			t.Errorf("%d writes, then %d", written, n)
		}
	})
}

// A request for an account that was never connected learns at once that the storage is the cause,
// also if it failed after the start. However many accounts requests name, the storage is tested at
// most once in 10 seconds.
func TestALoginThatWouldBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &writes{steps: &steps{}}
		var ev events
		src := newSource(t, rotating(0), connecting(storage), observed(&ev))
		src.Warm()
		synctest.Wait()
		ask := func(account string) *tokensource.Error {
			t.Helper()
			if account == "" {
				_, err := src.Token(t.Context())
				return asError(t, err, tokensource.ClassLogin)
			}
			_, err := src.Lookup(t.Context(), account)
			return asError(t, src.TestLogin(t.Context(), err), tokensource.ClassLogin)
		}
		if e := ask(""); e.LoginWouldBeLost() || e.Problem() != "not_connected" {
			t.Errorf("the storage works: %v", e)
		}
		storage.fail(nil, errDisk)
		virtual.Advance(time.Minute)
		before := storage.count.Load()
		for i := range 100 {
			e := ask(fmt.Sprint(i))
			if !e.LoginWouldBeLost() || e.Problem() != "storage_login" || !errors.Is(e, errDisk) || e.Account != fmt.Sprint(i) {
				t.Fatalf("a named account: %v", e)
			}
		}
		if e := ask(""); !e.LoginWouldBeLost() || e.Problem() != "storage_login" {
			t.Errorf("the unnamed account: %v", e)
		}
		if n := storage.count.Load() - before; n != 1 {
			t.Errorf("%d writes", n)
		}
		virtual.Advance(time.Minute)
		if st := src.Account("").Status(); st.StorageErr == nil || st.Err.Problem() != "storage_login" ||
			ev.count(tokensource.EventStorageFailed) == 0 {
			t.Errorf("the state: %v, %v", st.Err, ev.all())
		}
		asked := ev.count(tokensource.EventLoginRequired)
		storage.fail(nil, nil)
		virtual.Advance(time.Minute)
		for _, account := range []string{"", "leela"} {
			if e := ask(account); e.LoginWouldBeLost() || e.Problem() != "not_connected" {
				t.Errorf("the storage works again: %v", e)
			}
		}
		if n := ev.count(tokensource.EventLoginRequired); n != asked+1 {
			t.Errorf("a login is asked for %d times, then %d times", asked, n)
		}
	})
}

// A request waits for the test of the storage only as long as its context allows. Close waits for the
// test. A storage that panics fails the test, and not the process.
func TestALoginDoesNotWaitForAStorageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &stuck{}
		src := newSource(t, rotating(0), connecting(storage))
		ask := func() (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := src.Lookup(ctx, "leela")
			began := time.Now()
			err = src.TestLogin(ctx, err)
			return time.Since(began), err
		}
		storage.hangs.Store(true)
		if took, err := ask(); took != time.Second || asError(t, err, tokensource.ClassLogin).LoginWouldBeLost() {
			t.Errorf("after %v: %v", took, err)
		}
		virtual.Advance(time.Minute)
		if took, err := ask(); took != time.Second || !asError(t, err, tokensource.ClassLogin).LoginWouldBeLost() {
			t.Errorf("after the first test, after %v: %v", took, err)
		}
		if err := src.Close(t.Context()); err != nil || storage.running.Load() != 0 {
			t.Errorf("%v, %d calls are running after Close", err, storage.running.Load())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		storage := &stuck{}
		storage.panics.Store(true)
		src := newSource(t, rotating(0), connecting(storage))
		_, err := src.Lookup(t.Context(), "leela")
		if e := asError(t, src.TestLogin(t.Context(), err), tokensource.ClassLogin); !e.LoginWouldBeLost() {
			t.Errorf("got %v", e)
		}
	})
}

// stuck is a storage whose writes can hang until their context ends, or panic.
type stuck struct {
	tokensource.MemoryStorage
	hangs, panics atomic.Bool
	running       atomic.Int64
}

func (s *stuck) Store(ctx context.Context, key string, value []byte) error {
	s.running.Add(1)
	defer s.running.Add(-1)
	if s.panics.Load() {
		panic("canary")
	}
	if s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.MemoryStorage.Store(ctx, key, value)
}

// writes counts the calls that write.
type writes struct {
	*steps
	count atomic.Int64
}

func (w *writes) Store(ctx context.Context, key string, value []byte) error {
	w.count.Add(1)
	return w.steps.Store(ctx, key, value)
}

// The remedy of a storage that fails forbids a restart only while a token is not stored. The events
// say whether there is a token to serve, and that a source with a new token has a storage that
// fails.
func TestStorageRemedyForbidsARestartOnlyWhileATokenIsUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := alone()
		var ev events
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		src := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
		src.Warm()
		synctest.Wait()
		storage.fail(nil, errDisk)
		virtual.Advance(57 * time.Minute)
		if st := src.Account("").Status(); st.Unsaved || st.Err == nil ||
			st.Err.Remedy() != "make the storage writable for this process, and check that it is not full" {
			t.Errorf("unsaved %t, %v", st.Unsaved, st.Err)
		}
		virtual.Advance(10 * time.Minute)
		st := src.Account("").Status()
		if problems := st.Problems(); !st.Unsaved || len(problems) == 0 ||
			!strings.HasSuffix(problems[0].Remedy(), ". Do not restart or reload the server before that, because a token "+
				"that is not stored yet would be lost") {
			t.Errorf("unsaved %t, %v", st.Unsaved, problems)
		}
		lives, ended, recovered := false, false, false
		for _, e := range ev.all() {
			switch e.Kind {
			case tokensource.EventStorageFailed:
				lives, ended = lives || e.Live, ended || !e.Live
			case tokensource.EventRecovered:
				recovered = true
				if e.Failure == nil {
					t.Error("recovered, and nothing is said of the storage")
				}
			}
		}
		if !lives || !recovered {
			t.Errorf("lives %t, ended %t, recovered %t", lives, ended, recovered)
		}
	})
}

// The remedy of a storage that fails depends on its error, the same in every place: in the state, in
// the events, and in each problem. While a token is not stored, nothing that needs a reload is advised.
func TestRemedyOfAStorageErrno(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EROFS: "mounted read-only", syscall.ENOSPC: "it is full", syscall.EDQUOT: "quota",
		syscall.EACCES: "let the user that runs this process write", syscall.ENOTDIR: "move the file away, because",
		syscall.EIO: "make the storage writable for this process",
	} {
		synctest.Test(t, func(t *testing.T) {
			storage := alone()
			var ev events
			src := newSource(t, rotating(0), refreshing(storage, "rt0"), observed(&ev))
			storage.fail(nil, &fs.PathError{Op: "open", Path: "/var/lib/x", Err: errno})
			src.Warm()
			virtual.Advance(10 * time.Minute)
			st := src.Account("").Status()
			if !st.Unsaved {
				t.Fatalf("%v: the token is stored", errno)
			}
			failures := st.Problems()
			for _, e := range ev.all() {
				if failure, ok := errors.AsType[*tokensource.Error](e.Err); ok && e.Kind == tokensource.EventStorageFailed {
					failures = append(failures, failure)
				}
				if e.Kind == tokensource.EventStorageFailed && e.Failure != nil {
					failures = append(failures, e.Failure)
				}
			}
			if len(failures) < 2 {
				t.Errorf("%v: %d failures", errno, len(failures))
			}
			for _, failure := range failures {
				if remedy := failure.Remedy(); !strings.Contains(remedy, want) || strings.Contains(remedy, "/var/lib") ||
					strings.Contains(remedy, "correct the path") || !strings.Contains(remedy, "Do not restart or reload") {
					t.Errorf("%v: %v: %s", errno, failure.What(), remedy)
				}
			}
		})
	}
}

// If the directory of the storage was removed and cannot be made again, only this process has the
// refresh token. The remedy says so. When the directory is back, the next refresh stores the record.
func TestAStorageThatLostItsDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		src := newSource(t, rotating(0), refreshing(storage, "rt0"))
		src.Warm()
		synctest.Wait()
		for _, key := range keys(t, storage, "authinject/records") {
			if err := storage.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		storage.fail(nil, &fs.PathError{Op: "mkdir", Path: "/var/lib/x", Err: syscall.EACCES})
		for src.Account("").Status().Err == nil {
			virtual.Advance(time.Minute)
		}
		remedy := src.Account("").Status().Err.Remedy()
		if !strings.Contains(remedy, "make that directory if it does not exist") ||
			!strings.Contains(remedy, "Do not restart or reload the server before that") {
			t.Errorf("got %s", remedy)
		}
		storage.fail(nil, nil)
		virtual.Advance(10 * time.Minute)
		if st := src.Account("").Status(); st.Generation < 2 || st.Err != nil || len(keys(t, storage, "authinject/records")) == 0 {
			t.Errorf("after the repair: %+v", st)
		}
	})
}

// A source that ends with a token that it cannot store reports that the token is lost. If the storage
// works again by then, the token is stored.
func TestTokenLostAtTheEnd(t *testing.T) {
	for _, mended := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			storage := alone()
			var ev events
			src := newSource(t, rotating(0), refreshing(storage, "rt0"), observed(&ev))
			storage.fail(nil, &fs.PathError{Op: "open", Path: "/var/lib/x", Err: syscall.EROFS})
			src.Warm()
			virtual.Advance(time.Minute)
			if mended {
				storage.fail(nil, nil)
			}
			if err := src.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			lost := false
			for _, e := range ev.all() {
				if e.Failure != nil && e.Failure.Problem() == "token_lost" {
					lost = errors.Is(e.Err, syscall.EROFS) && strings.HasPrefix(e.Failure.Remedy(), "mount the file system of the "+
						"storage writable, because it is mounted read-only. If the account needs a login after the next start, "+
						"get a new refresh token from the provider")
				}
			}
			if lost == mended {
				t.Errorf("mended %t: %+v", mended, ev.all())
			}
		})
	}
}

// Only a new token can be lost: not a refusal that could not be stored, and not a disconnection.
func TestNothingIsLostAtTheEnd(t *testing.T) {
	for name, script := range map[string]func(int, url.Values) reply{
		"refused":      always(refused(400, "invalid_grant")),
		"busy":         always(reply{status: 503}),
		"disconnected": func(n int, _ url.Values) reply { return rotated(n, time.Hour) },
	} {
		synctest.Test(t, func(t *testing.T) {
			storage := alone()
			var ev events
			ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
			src := newSource(t, ep, connecting(storage), observed(&ev))
			connect(t, src, "alice")
			storage.fail(nil, &fs.PathError{Op: "open", Path: "/var/lib/x", Err: syscall.EROFS})
			ep.set(script)
			if name == "disconnected" {
				_ = src.Account("alice").Disconnect(t.Context())
			} else {
				virtual.Advance(time.Hour)
				_, _ = src.Account("alice").Token(t.Context())
				virtual.Advance(10 * time.Second)
			}
			if err := src.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, e := range ev.all() {
				if e.Failure != nil && e.Failure.Problem() == "token_lost" {
					t.Errorf("%s: %+v", name, e)
				}
			}
		})
	}
}

// A source that ends with a disconnection that it cannot store reports that.
func TestDisconnectionLostAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(tokensource.MemoryStorage)
		view := &shelf{Storage: memory}
		var ev events
		src := newSource(t, rotating(0), connecting(view), func(c *tokensource.Config) { c.RevokeURL = "" }, observed(&ev))
		connect(t, src, "")
		view.fail("records", nil, errDisk)
		if err := src.Account("").Disconnect(t.Context()); err == nil {
			t.Fatal("no error")
		}
		synctest.Wait()
		ev.forget()
		_ = src.Close(context.Background())
		synctest.Wait()
		told := ev.all()
		if len(told) != 1 || told[0].Kind != tokensource.EventStorageFailed || told[0].Failure.Problem() != "disconnection_lost" {
			t.Errorf("Close told %+v", told)
		}
		wantToken(t, newSource(t, rotating(0), connecting(memory)), "at1") // that is what was told
	})
}

// deaf is a storage whose reads do not end while it hangs, as a directory on a server that does not
// answer.
type deaf struct {
	tokensource.MemoryStorage
	hangs atomic.Pointer[chan struct{}]
}

func (s *deaf) Load(ctx context.Context, key string) ([]byte, error) {
	if hangs := s.hangs.Load(); hangs != nil {
		<-*hangs
	}
	return s.MemoryStorage.Load(ctx, key)
}

func (s *deaf) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if hangs := s.hangs.Load(); hangs != nil {
		<-*hangs
	}
	return s.MemoryStorage.List(ctx, prefix, recursive)
}

// A storage that does not even give up when it is told to counts as out of reach: the token in memory is
// used, the operator is told, and nobody waits for the storage for ever.
func TestStorageThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &deaf{}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		var ev events
		src := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
		src.Warm()
		wantToken(t, src, "at1")
		hangs := make(chan struct{})
		storage.hangs.Store(&hangs)
		virtual.Advance(59 * time.Minute)
		wantToken(t, src, "at1")
		if ev.count(tokensource.EventStorageFailed) == 0 {
			t.Error("the observer was not told of the storage failure")
		}
		virtual.Advance(2 * time.Minute)
		if e := wantError(t, src, tokensource.ClassWait); !strings.Contains(e.Reason, "the storage cannot be read") {
			t.Error(e)
		}
		began := time.Now()
		if _, err := src.Stored(t.Context(), ""); err == nil || time.Since(began) > time.Minute {
			t.Errorf("reading the state ended after %v with %v", time.Since(began), err)
		}
		if _, err := src.Accounts(t.Context()); err == nil || time.Since(began) > time.Minute {
			t.Errorf("listing the accounts ended after %v with %v", time.Since(began), err)
		}
		storage.hangs.Store(nil)
		close(hangs)
		virtual.Advance(time.Minute)
		wantToken(t, src, "at2")
		wantCount(t, ep, 2)
	})
}
