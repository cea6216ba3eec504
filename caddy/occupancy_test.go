//go:build darwin || freebsd || linux

package caddy

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// process returns what another process would know of dir: a lock belongs to an open file, so
// several of them in one process exclude each other as processes do.
func process(t *testing.T, dir string) *occupancy {
	t.Helper()
	o := &occupancy{dir: dir, claims: make(map[string]bool)}
	t.Cleanup(func() { end(o) })
	return o
}

// end does what the kernel does when a process ends.
func end(o *occupancy) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, file := range o.files {
		_ = file.Close()
	}
	o.files = nil
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// A process can claim a directory only while no other process uses it, and keeps others from
// entering until it releases the claim or ends.
func TestOccupancy(t *testing.T) {
	dir := t.TempDir()
	a, b := process(t, dir), process(t, dir)
	wantErr(t, "a enters", a.Enter(), nil)
	wantErr(t, "b enters", b.Enter(), nil)
	_, err := a.Claim("k")
	wantErr(t, "a claims beside b", err, tokensource.ErrShared)
	end(b)
	release, err := a.Claim("k")
	wantErr(t, "a claims alone", err, nil)
	_, err = a.Claim("k")
	wantErr(t, "a claims the same key again", err, tokensource.ErrClaimed)
	other, err := a.Claim("other")
	wantErr(t, "a claims another key", err, nil)
	wantErr(t, "b enters during the claims", b.Enter(), tokensource.ErrClaimed)
	_, err = b.Claim("k")
	wantErr(t, "b claims during the claims", err, tokensource.ErrClaimed)
	release()
	wantErr(t, "b enters during the other claim", b.Enter(), tokensource.ErrClaimed)
	other()
	wantErr(t, "b enters after the claims", b.Enter(), nil)
	_, err = a.Claim("k")
	wantErr(t, "a claims beside b again", err, tokensource.ErrShared)
	end(b)
	if _, err = a.Claim("k"); err != nil {
		t.Error(err)
	}
	end(a)
	wantErr(t, "b enters when a has ended", b.Enter(), nil)
}

// If the directory is replaced, a process notices those that use the new one, those that still use the
// old one, and keeps both out during a claim.
func TestOccupancyOfAReplacedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "caddy")
	replace := func(old string) {
		t.Helper()
		if err := errors.Join(os.Rename(dir, dir+old), os.Mkdir(dir, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	a, b, c := process(t, dir), process(t, dir), process(t, dir)
	wantErr(t, "a enters", a.Enter(), nil)
	wantErr(t, "b enters", b.Enter(), nil)
	replace("1")
	_, err := a.Claim("k")
	wantErr(t, "a claims while b uses the old directory", err, tokensource.ErrShared)
	end(b)
	wantErr(t, "c enters the new directory", c.Enter(), nil)
	_, err = a.Claim("k")
	wantErr(t, "a claims beside c", err, tokensource.ErrShared)
	end(c)
	if _, err = a.Claim("k"); err != nil {
		t.Fatal(err)
	}
	replace("2")
	wantErr(t, "a enters the next directory", a.Enter(), nil)
	wantErr(t, "b enters during a's claim", b.Enter(), tokensource.ErrClaimed)
}

// While something else is at the path, a process stays in the directory that it entered.
func TestOccupancyOfADirectoryThatWasMovedAway(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"nothing": func(string) error { return nil },
		"a file":  func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "caddy")
			a, b := process(t, dir), process(t, dir)
			wantErr(t, "a enters", a.Enter(), nil)
			wantErr(t, "b enters", b.Enter(), nil)
			if err := errors.Join(os.Rename(dir, dir+"1"), put(dir)); err != nil {
				t.Fatal(err)
			}
			_, err := a.Claim("k")
			wantErr(t, "a claims beside b", err, tokensource.ErrShared)
			end(b)
			if _, err = a.Claim("k"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A directory is the same however its path is written.
func TestOccupancyOfALink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/new", "/new/er"} {
		if occupancyOf(dir+path) != occupancyOf(dir+"-link"+path) {
			t.Errorf("%s is registered twice", dir+path)
		}
	}
}

// In a file system that is not known to be local, another machine may use the directory, so nobody is
// alone.
func TestOccupancyOfAnotherFileSystem(t *testing.T) {
	o := process(t, "/proc/self")
	wantErr(t, "entering", o.Enter(), nil)
	_, err := o.Claim("k")
	wantErr(t, "claiming", err, errors.ErrUnsupported)
}

// Processes that try at the same moment do not both find themselves alone.
func TestOccupancyRace(t *testing.T) {
	dir := t.TempDir()
	var all [2]*occupancy
	for i := range all {
		all[i] = process(t, dir)
		wantErr(t, "entering", all[i].Enter(), nil)
	}
	var claimed atomic.Int64
	var running sync.WaitGroup
	for _, o := range all {
		running.Go(func() {
			for range 20000 {
				if _, err := o.Claim("k"); err == nil {
					claimed.Add(1)
				}
			}
		})
	}
	running.Wait()
	if n := claimed.Load(); n > 0 {
		t.Errorf("%d claims beside another process", n)
	}
}

// A directory that does not exist yet is made. One that cannot be made tells nothing.
func TestOccupancyWithoutADirectory(t *testing.T) {
	dir := t.TempDir()
	o := process(t, dir+"/a/b")
	wantErr(t, "entering a new directory", o.Enter(), nil)
	if _, err := o.Claim("k"); err != nil {
		t.Error(err)
	}
	o = process(t, "/dev/null/x")
	wantErr(t, "entering where nothing can be", o.Enter(), nil)
	_, err := o.Claim("k")
	wantErr(t, "claiming where nothing can be", err, errors.ErrUnsupported)
}
