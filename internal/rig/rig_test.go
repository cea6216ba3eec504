package rig

import (
	"fmt"
	"strings"
	"testing"
)

func TestCaddyfile(t *testing.T) {
	shared := Caddyfile{}.Source("a", "token {env.TOKEN}").Site(":1", Block("authinject a https://x", "", ""))
	changed := shared.Global("debug").Options("encryption_key k").Source("a", "inject query").Source("b", "grant\ntoken").
		Site(":1", Block("log", "output discard")).Site(":2")
	for _, c := range []struct {
		config Caddyfile
		want   string
	}{
		{Caddyfile{}.Site(":1", "respond ok"), ":1 {\n\trespond ok\n}\n"},
		{shared, "{\n\tauthinject {\n\t\tsource a {\n\t\t\ttoken {env.TOKEN}\n\t\t}\n\t}\n}\n:1 {\n\tauthinject a " +
			"https://x\n}\n"},
		{changed, `{
	debug
	authinject {
		encryption_key k
		source a {
			token {env.TOKEN}
			inject query
		}
		source b {
			grant
			token
		}
	}
}
:1 {
	authinject a https://x
	log {
		output discard
	}
}
:2 {
}
`},
	} {
		if got := c.config.String(); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
}

// If there is one more goroutine than before, the census finds it and names its function.
func TestCensus(t *testing.T) {
	before := Count(Stacks())
	begun, stop := make(chan struct{}), make(chan struct{})
	go leak(begun, stop)
	<-begun
	more := Count(Stacks()).More(before)
	if !strings.Contains(fmt.Sprint(more), "rig.leak, started by ") || len(more) != 1 {
		t.Errorf("a goroutine was started, and these were found: %v", more)
	}
	close(stop)
	NoMoreGoroutines(t, before, Stacks)
}

func leak(begun chan<- struct{}, stop <-chan struct{}) {
	close(begun)
	<-stop
}

// Only one holder has a block of ports, in this test binary and in others that run at the same
// time.
func TestPortsAreHandedOutOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 3 * blockSize {
		addr := FreeAddr(t)
		if seen[addr] {
			t.Fatalf("%s was handed out twice", addr)
		}
		seen[addr] = true
	}
	if len(guards) < 3 {
		t.Fatalf("%d blocks are held for %d ports", len(guards), 3*blockSize)
	}
	for _, guard := range guards {
		if l, err := listen(guard.Addr().String()); err == nil {
			_ = l.Close()
			t.Errorf("the guard's port %s could be taken again", guard.Addr())
		}
	}
}
