package tokensource_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// A refusal that is reported in the background leads to a new token, although no request waits for
// it. Closing the source waits for the token request, and for nothing else.
func TestRefusedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: slowly}
		src := newSource(t, ep)
		tok := mustToken(t, src)
		began := time.Now()
		if !src.Account("").Refused(tok) {
			t.Error("Refused says that no other token may come")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Refused took %s", took)
		}
		synctest.Wait() // the token request is under way
		if err := src.Close(context.Background()); err != nil {
			t.Fatalf("Close: %v", err)
		}
		wantCount(t, ep, 2)
		if src.Account("").Refused(tok) {
			t.Error("Refused says that another token may come from a closed source")
		}
		synctest.Wait()
		wantCount(t, ep, 2)
	})
}

// A source whose provider is down closes at once, even while it handles a refusal.
func TestCloseWithARefusalAndNoProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			if n == 1 {
				return granted(n, time.Hour)
			}
			return reply{status: http.StatusServiceUnavailable}
		}}
		src := newSource(t, ep)
		tok := mustToken(t, src)
		src.Account("").Refused(tok)
		synctest.Wait()
		src.Account("").Refused(tok)
		synctest.Wait()
		began := time.Now()
		if err := src.Close(context.Background()); err != nil {
			t.Fatalf("Close: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %s", took)
		}
	})
}

// A static token has no successor, so that the client need not send a refused request again.
func TestRefusedStaticToken(t *testing.T) {
	src := newSource(t, &endpoint{}, func(c *tokensource.Config) {
		c.Grant = tokensource.Static{Token: tokensource.Literal("pat")}
	})
	if src.Account("").Refused(mustToken(t, src)) {
		t.Error("Refused says that another token may come")
	}
}
