package tokensource

import (
	"context"
	"time"
)

// refusedWait bounds the wait for the token that replaces a refused one.
const refusedWait = 10 * time.Second

// Refused tells that an upstream refused tok, and returns at once: what [Account.Reject] does goes on
// in the background, so that the next request gets a better token. [Source.Close] waits for it.
func (a *Account) Refused(tok *Token) {
	if !a.src.begin() {
		return
	}
	go func() {
		defer a.src.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), refusedWait)
		defer cancel()
		_, _ = a.Reject(ctx, tok) // the next request sees what came of it
	}()
}
