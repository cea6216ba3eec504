package tokensource_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// file is a value that changes while it is read.
type file struct {
	mu    sync.Mutex
	value string
	err   error
	reads int
}

func (f *file) set(value string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.value, f.err = value, err
}

func (f *file) read(context.Context) (tokensource.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return tokensource.NewSecret(f.value), f.err
}

func static(f *file) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		*cfg = tokensource.Config{Name: "orders", Grant: tokensource.Static{Token: f.read}}
	}
}

// If a static token changes in its file, the new one is handed out a second later. The file is read
// at most once a second.
func TestStaticTokenIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{value: "pat1"}
		src := newSource(t, nil, static(f))
		first := wantToken(t, src, "pat1")
		for range 1000 {
			if tok := wantToken(t, src, "pat1"); tok.Generation != first.Generation {
				t.Fatal("the same token became another generation")
			}
			virtual.Advance(time.Millisecond)
		}
		if f.reads > 2 {
			t.Errorf("read %d times in a second", f.reads)
		}
		f.set("pat2", nil)
		virtual.Advance(time.Second)
		if tok := wantToken(t, src, "pat2"); tok.Generation == first.Generation {
			t.Error("another token has the same generation")
		}
	})
}

// If a file becomes empty or unreadable, the good token stays in use, and no empty token is handed
// out. A repaired file is used within seconds.
func TestStaticTokenThatBreaks(t *testing.T) {
	for name, broken := range map[string]error{"empty": nil, "unreadable": errors.New("no such file")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &file{value: "pat1"}
				src := newSource(t, nil, static(f))
				wantToken(t, src, "pat1")
				f.set("", broken)
				for range 600 {
					virtual.Advance(time.Second)
					wantToken(t, src, "pat1")
				}
				f.set("pat2", nil)
				virtual.Advance(7 * time.Second)
				wantToken(t, src, "pat2")
			})
		})
	}
}

// Without a token there is an error of class operator. Once the token exists, it is served within
// seconds.
func TestStaticTokenThatIsNotThereYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{}
		src := newSource(t, nil, static(f))
		for range 600 {
			wantError(t, src, tokensource.ClassOperator)
			virtual.Advance(time.Second)
		}
		f.set("with space", nil)
		virtual.Advance(7 * time.Second)
		wantError(t, src, tokensource.ClassOperator)
		f.set("pat1", nil)
		virtual.Advance(7 * time.Second)
		wantToken(t, src, "pat1")
	})
}

// A configured end is obeyed: after it there is no token.
func TestStaticTokenThatExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		src := newSource(t, nil, func(cfg *tokensource.Config) {
			*cfg = tokensource.Config{Name: "orders", Grant: tokensource.Static{Token: tokensource.Literal("pat"), Expires: end}}
		})
		if tok := wantToken(t, src, "pat"); !tok.Expiry.Equal(end) {
			t.Errorf("expiry %s, want %s", tok.Expiry, end)
		}
		virtual.Advance(59 * time.Minute)
		wantToken(t, src, "pat")
		virtual.Advance(time.Minute)
		wantError(t, src, tokensource.ClassOperator)
	})
}

// A refused static token is read again at once. A new value replaces it. If the value is the same,
// there is no replacement.
func TestRejectStaticToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{value: "pat1"}
		var ev events
		src := newSource(t, nil, static(f), observed(&ev))
		tok := wantToken(t, src, "pat1")
		if _, err := src.Account("").Reject(t.Context(), tok); !errors.Is(err, tokensource.ErrNoReplacement) {
			t.Errorf("got %v, want ErrNoReplacement", err)
		}
		f.set("pat2", nil)
		next, err := src.Account("").Reject(t.Context(), tok)
		if err != nil || next.AccessToken() != "pat2" {
			t.Errorf("got %v, %v, want pat2", next, err)
		}
		wantToken(t, src, "pat2")
		synctest.Wait()
		if n := ev.count(tokensource.EventRecovered); n != 1 {
			t.Errorf("the new token was reported %d times: %+v", n, ev.all())
		}
	})
}

// If an upstream refuses a static token that is an expired JWT, the remedy says that it expired.
func TestRefusedStaticTokenThatIsAnExpiredJWT(t *testing.T) {
	for token, expired := range map[string]bool{
		"eyJhbGciOiJub25lIn0.eyJleHAiOjE1MDAwMDAwMDB9.c2ln": true,  // 2017
		"eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.c2ln": false, // 2286
		"opaque": false,
	} {
		var ev events
		src := newSource(t, nil, observed(&ev), func(c *tokensource.Config) {
			c.Grant = tokensource.Static{Token: tokensource.Literal(token)}
		})
		tok := mustToken(t, src)
		if st := src.Account("").Status(); (st.Ended() != nil) != expired || len(st.Problems()) == 0 == expired {
			t.Errorf("before the refusal: %v", st.Problems())
		}
		_, _ = src.Account("").Reject(t.Context(), tok)
		failures := []error{src.Account("").Status().Refusal()}
		for _, e := range ev.all() {
			if e.Kind == tokensource.EventRefused {
				failures = append(failures, e.Err)
			}
		}
		for _, err := range failures {
			failure, ok := errors.AsType[*tokensource.Error](err)
			if !ok || strings.Contains(failure.Remedy(), "is a JWT that expired on 2017-07-14T02:40:00Z") != expired {
				t.Errorf("%v", err)
			}
		}
		if len(failures) != 2 {
			t.Errorf("%d failures", len(failures))
		}
	}
}

// A token that is not valid yet, by its own claim, may be refused because this machine's clock is
// wrong.
func TestRefusedStaticTokenThatIsNotValidYet(t *testing.T) {
	src := newSource(t, nil, func(c *tokensource.Config) {
		c.Grant = tokensource.Static{Token: tokensource.Literal("eyJhbGciOiJub25lIn0.eyJuYmYiOjk5OTk5OTk5OTl9.c2ln")} // 2286
	})
	_, _ = src.Account("").Reject(t.Context(), mustToken(t, src))
	if remedy := src.Account("").Status().Refusal().Remedy(); !strings.Contains(remedy, "check this machine's clock first, "+
		"because the configured token is a JWT that is not valid before 2286-11-20T17:46:39Z. If the clock is right, write a new token") {
		t.Error(remedy)
	}
}

// A refusal of a token is reported once, and the status shows it, even if there is no other token.
func TestStaticTokenThatIsRefused(t *testing.T) {
	var ev events
	src := newSource(t, nil, observed(&ev), func(c *tokensource.Config) {
		c.Grant = tokensource.Static{Token: tokensource.Literal("pat")}
	})
	for range 3 {
		tok := mustToken(t, src)
		if _, err := src.Account("").Reject(t.Context(), tok); !errors.Is(err, tokensource.ErrNoReplacement) {
			t.Fatalf("got %v", err)
		}
	}
	if st := src.Account("").Status(); !st.Refused || !st.Live {
		t.Errorf("status %+v", st)
	}
	if ev.count(tokensource.EventRefused) != 1 {
		t.Errorf("events %+v", ev.all())
	}
}
