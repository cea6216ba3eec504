//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package caddy

import (
	"errors"
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
	if o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
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
