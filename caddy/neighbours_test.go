package caddy

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/authinject/caddy-authinject/tokensource"
)

// An address that another process has, too, is logged when a configuration begins to use it, and
// not again at a reload. The state shows it for as long as it is so, and is looked up at most once
// a minute.
func TestNeighbours(t *testing.T) {
	looks, shared := 0, true
	before := theNeighbours
	t.Cleanup(func() { theNeighbours = before })
	theNeighbours = &neighbours{others: func(address string) []string {
		looks++
		if shared && address == "127.0.0.1:8080" {
			return []string{"caddy (process 42)"}
		}
		return nil
	}}
	core, logged := observer.New(zap.DebugLevel)
	start := func(listens map[string][]string) *App {
		sources := slices.Values([]string{"a", "b"})
		a := &App{
			logger: zap.New(core), background: new(sync.WaitGroup),
			refusals: newRefusals(zap.NewNop(), sources), unreached: newUnreached(zap.NewNop(), sources),
		}
		a.routes.listens = listens
		a.warnOfNeighbours()
		a.background.Wait()
		return a
	}
	start(map[string][]string{"a": {"127.0.0.1:8080"}, "b": {"127.0.0.1:8080"}})
	if logged.Len() != 1 || looks != 1 {
		t.Fatalf("%d lines, %d looks", logged.Len(), looks)
	}
	line := logged.All()[0]
	if fields := line.ContextMap(); line.Level != zapcore.WarnLevel || fields["listener"] != "127.0.0.1:8080" ||
		fields["remedy"] != tokensource.RemedyFor(sharedAddress) {
		t.Errorf("logged %+v", line)
	}
	a := start(map[string][]string{"a": {"127.0.0.1:8080"}})
	if logged.Len() != 1 || looks != 1 {
		t.Errorf("after a reload: %d lines, %d looks", logged.Len(), looks)
	}
	const want = "another process listens at the same address 127.0.0.1:8080, and gets a part of the requests: caddy " +
		"(process 42): stop one of the processes"
	st := a.accountStatus(tokensource.Status{Source: "a", Live: true}, "static")
	if len(st.Warnings) != 1 || !strings.HasPrefix(st.Warnings[0], want) || len(st.Problems) != 1 ||
		st.Problems[0].Problem != sharedAddress || st.Class != "" {
		t.Errorf("got %+v", st)
	}
	if other := a.accountStatus(tokensource.Status{Source: "b"}, "static"); other.Warnings != nil {
		t.Errorf("a source that is not at the address: %+v", other)
	}
	shared = false
	now := time.Now()
	if len(theNeighbours.at("127.0.0.1:8080", now.Add(30*time.Second))) != 1 || looks != 1 {
		t.Error("it was looked up twice in a minute")
	}
	if len(theNeighbours.at("127.0.0.1:8080", now.Add(2*time.Minute))) != 0 || looks != 2 {
		t.Error("it was not looked up again")
	}
	start(map[string][]string{"a": {"127.0.0.1:9090"}})
	shared = true
	start(map[string][]string{"a": {"127.0.0.1:8080"}})
	if logged.Len() != 2 {
		t.Errorf("%d lines after the address was used again", logged.Len())
	}
}

// Only TCP listeners are looked up.
func TestTCPAddresses(t *testing.T) {
	got := tcpAddresses([]string{":8080", "tcp4/127.0.0.1:81", "unix//run/a.sock", "udp/:53", "fd/3", "[::1]:8000-8005"})
	if want := []string{":8080", "127.0.0.1:81", "[::1]:8000"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
