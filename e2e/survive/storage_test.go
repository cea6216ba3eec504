package survive

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// broken makes a storage directory fail in a way that works for root and needs no mounts: it puts
// another file where a file or directory must go. It returns the repair.
type broken func(t *testing.T, w *world) (repair func())

// swap moves the file or directory at path away, and back.
func swap(t *testing.T, path string, replace func() error) (repair func()) {
	t.Helper()
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := replace(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := moveTo(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}

// moveTo renames a file or directory to path, and replaces whatever is there. A running server may
// create a directory at path at any moment, so moveTo tries several times.
func moveTo(from, path string) error {
	var err error
	for range 100 {
		if err = os.RemoveAll(path); err != nil {
			continue
		}
		if err = os.Rename(from, path); err == nil {
			return nil
		}
	}
	return err
}

func asFile(path string) func() error {
	return func() error {
		if err := os.WriteFile(path+".file", []byte("in the way"), 0o600); err != nil {
			return err
		}
		return moveTo(path+".file", path)
	}
}

// The storage fails before a refresh is due. It is repaired long after the token has expired and
// another token was obtained. Requests are served all the time, and the newest refresh token is
// stored in the end.
func TestStorageFails(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]broken{
		"a directory stands in the record's place": func(t *testing.T, w *world) func() {
			path := w.record()
			return swap(t, path, func() error { return os.MkdirAll(filepath.Join(path, "full"), 0o700) })
		},
		"a file stands in the records' place": func(t *testing.T, w *world) func() {
			path := filepath.Join(w.store, "authinject")
			return swap(t, path, asFile(path))
		},
		"a file stands in the storage's place": func(t *testing.T, w *world) func() {
			return swap(t, w.store, asFile(w.store))
		},
		"a file stands in the locks' place": func(t *testing.T, w *world) func() {
			path := filepath.Join(w.store, "locks")
			return swap(t, path, asFile(path))
		},
		"the storage is another, empty one": func(t *testing.T, w *world) func() {
			return swap(t, w.store, func() error { return os.Mkdir(w.store, 0o700) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repeat(t, times(1, 10), func(t *testing.T) {
				w := newWorld(t, 4*time.Second, tokensourcetest.StrictRotation())
				p := w.start(t)
				serves(t, p, 0, back)
				stop := load(t, p)
				repair := breaks(t, w)
				// Wait until two more tokens were obtained.
				rig.Eventually(t, func() bool {
					got, err := ask(p)
					return err == nil && got.token >= 3
				}, "refreshes without a storage")
				repair()
				began := time.Now()
				rig.Eventually(t, func() bool { return w.stored(w.newest()) }, "the newest refresh token to be stored")
				took := time.Since(began)
				n := stop()
				w.lossless(t)
				t.Logf("%d requests; stored %v after the repair", n, took.Round(time.Millisecond))
			})
		})
	}
}
