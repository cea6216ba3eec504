package tokensource_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A storage check opens and decodes a record only if it has changed since the last check. If the
// old bytes are written back after a login, the check notices it.
func TestUnchangedRecordIsNotDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		key := func(context.Context) (tokensource.Secret, error) {
			opened++
			return tokensource.NewSecret(strings.Repeat("key ", 10)), nil
		}
		sealed := func(cfg *tokensource.Config) { cfg.EncryptionKeys = []tokensource.Value{key} }
		storage := &tokensource.MemoryStorage{}
		ep := rotating(0)
		src := newSource(t, ep, connecting(storage), sealed)
		minute := func() {
			t.Helper()
			for range 60 {
				virtual.Advance(time.Second)
				mustToken(t, src)
			}
			synctest.Wait()
		}
		connect(t, src, "")
		minute()
		opened = 0
		minute()
		if opened != 0 {
			t.Errorf("a record that did not change was opened %d times in a minute", opened)
		}
		before, err := storage.Load(t.Context(), recordKey)
		if err != nil {
			t.Fatal(err)
		}
		connect(t, src, "")
		if err := storage.Store(t.Context(), recordKey, before); err != nil { // another process was late
			t.Fatal(err)
		}
		minute()
		if now, err := storage.Load(t.Context(), recordKey); err != nil || string(now) == string(before) {
			t.Errorf("the record before the last login is still stored: %v", err)
		}
		other := newSource(t, ep, connecting(storage), sealed)
		disconnect(t, other, "")
		virtual.Advance(11 * time.Second)
		wantError(t, src, tokensource.ClassLogin)
	})
}
