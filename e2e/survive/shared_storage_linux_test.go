package survive

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A storage directory that several processes share fails for longer than a token lives. No process
// sends a refresh token that another one may have sent: the processes answer with class wait until
// the storage is back, and then all of them serve again. The provider revokes the login when a
// refresh token comes twice, so one mistake locks everyone out.
func TestSharedStorageFails(t *testing.T) {
	t.Parallel()
	kinds := map[string]broken{
		"a file stands in the records' place": func(t *testing.T, w *world) func() {
			path := filepath.Join(w.store, "authinject")
			return swap(t, path, asFile(path))
		},
		"a file stands in the storage's place": func(t *testing.T, w *world) func() {
			return swap(t, w.store, asFile(w.store))
		},
		"read-only": readOnly,
	}
	for name, breaks := range kinds {
		for _, processes := range []int{2, 4} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				repeat(t, times(1, 10), func(t *testing.T) {
					w := newWorld(t, 6*time.Second, tokensourcetest.StrictRotation())
					if name == "read-only" {
						mount(t, w)
					}
					all := make([]*harness.Proxy, processes)
					for i := range all {
						all[i] = w.start(t)
						serves(t, all[i], 0, back)
					}
					repair := breaks(t, w)
					after := w.issued()
					for _, p := range all {
						rig.Within(t, 60*time.Second, func() bool {
							got, err := ask(p)
							return err == nil && got.status != http.StatusOK
						}, "the token to end")
					}
					for range 20 {
						for _, p := range all {
							if got, err := ask(p); err != nil || got.status == http.StatusOK && got.token <= after ||
								got.status != http.StatusOK && got.class != "wait" {
								t.Errorf("during the failure: %+v, %v", got, err)
							}
						}
					}
					repair()
					var serving sync.WaitGroup
					for _, p := range all {
						serving.Go(func() {
							took := serves(t, p, after, 2*back)
							t.Logf("served %v after the repair", took.Round(time.Millisecond))
						})
					}
					serving.Wait()
					w.lossless(t)
				})
			})
		}
	}
}

// mount prepares the storage directory so that it can become read-only. For root it mounts a file
// system there, because modes do not stop root. It reports whether the record can be read while the
// directory is read-only.
func mount(t *testing.T, w *world) (readable bool) {
	t.Helper()
	if err := os.MkdirAll(w.store, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return true
	}
	if err := syscall.Mount("tmpfs", w.store, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("mounting is not allowed here, so the storage is renamed instead: %v", err)
		return false
	}
	t.Cleanup(func() { _ = syscall.Unmount(w.store, syscall.MNT_DETACH) })
	return true
}

// readOnly makes every write to the storage fail, while stored records can be read. It uses the
// mount or, for users other than root, the directories' modes. If neither is possible, records
// cannot be read either.
func readOnly(t *testing.T, w *world) (repair func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		return modes(t, w.store)
	}
	remount := func(flags uintptr) error {
		return syscall.Mount("tmpfs", w.store, "tmpfs", syscall.MS_REMOUNT|flags, "size=1m")
	}
	if err := remount(syscall.MS_RDONLY); err != nil {
		return swap(t, w.store, asFile(w.store))
	}
	return func() {
		t.Helper()
		if err := remount(0); err != nil {
			t.Fatal(err)
		}
	}
}

// modes removes the permission to write from every directory below dir.
func modes(t *testing.T, dir string) (repair func()) {
	t.Helper()
	set := func(mode os.FileMode) {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			return os.Chmod(path, mode)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set(0o500)
	return func() { set(0o700) }
}

// A single process continues while its storage directory is read-only, even if it was started
// during the failure. The newest refresh token is stored after the repair.
func TestReadOnlyStorageOfOneProcess(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"while it runs": false, "over a restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repeat(t, times(1, 10), func(t *testing.T) {
				w := newWorld(t, 6*time.Second, tokensourcetest.StrictRotation())
				readable := mount(t, w)
				p := w.start(t)
				serves(t, p, 0, back)
				// If the record cannot be read, a new process has no refresh token. The old process
				// must stop first, because a token that it gets from here on would be lost.
				restart := restart && readable
				if restart {
					p.Stop()
				}
				repair := readOnly(t, w)
				if restart {
					p = w.start(t)
				}
				after := w.issued()
				serves(t, p, after, 2*back)
				serves(t, p, after+1, 2*back)
				repair()
				rig.Eventually(t, func() bool { return w.stored(w.newest()) }, "the newest refresh token to be stored")
				w.lossless(t)
			})
		})
	}
}
