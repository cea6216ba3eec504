package tokensource_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// After a new key was put in front, one run seals all records under it, whatever key sealed them
// before. The old key is not needed any more. A record that no key opens does not change.
func TestReseal(t *testing.T) {
	ctx := context.Background()
	storage := new(tokensource.MemoryStorage)
	keys := func(keys ...string) func(*tokensource.Config) {
		return func(cfg *tokensource.Config) {
			connecting(storage)(cfg)
			for _, key := range keys {
				cfg.EncryptionKeys = append(cfg.EncryptionKeys, tokensource.Literal(strings.Repeat(key, 32)))
			}
		}
	}
	for account, under := range map[string][]string{"clear": nil, "old": {"o"}, "new": {"n"}, "lost": {"l"}} {
		src := newSource(t, rotating(0), keys(under...))
		l := begin(t, src, tokensource.LoginRequest{Account: account, RedirectURL: callbackURL})
		if err := finish(t, src, l, "code=c"); err != nil {
			t.Fatal(err)
		}
	}
	lost := tokensource.RecordKey("orders", "lost", tokenURL, "orders-client")
	before, _ := storage.Load(ctx, lost)

	n, err := newSource(t, rotating(0), keys("n", "o")).Reseal(ctx)
	if n != 2 || err == nil || !strings.Contains(err.Error(), lost) {
		t.Errorf("%d records, %v; want 2, and the lost one named", n, err)
	}
	if after, _ := storage.Load(ctx, lost); !bytes.Equal(before, after) {
		t.Error("a record that no key opens was overwritten")
	}
	now := newSource(t, rotating(0), keys("n"))
	for _, account := range []string{"clear", "old", "new"} {
		if st, err := now.Stored(ctx, account); err != nil || !st.Live {
			t.Errorf("%s: %+v, %v", account, st, err)
		}
		data, _ := storage.Load(ctx, tokensource.RecordKey("orders", account, tokenURL, "orders-client"))
		if bytes.Contains(data, []byte("access_token")) {
			t.Errorf("%s is stored in the clear", account)
		}
	}
	if n, err := newSource(t, rotating(0), keys("n", "o")).Reseal(ctx); n != 0 || err == nil {
		t.Errorf("again: %d records, %v", n, err)
	}
	if n, err := newSource(t, rotating(0), keys()).Reseal(ctx); n != 0 || err != nil {
		t.Errorf("without keys: %d records, %v", n, err)
	}
}
