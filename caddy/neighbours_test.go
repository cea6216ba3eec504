package caddy

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// An address that another process has, too, is logged when a configuration begins to use it, and
// not again at a reload. The state shows it for as long as it is so, and is looked up at most once
// in 10 seconds.
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
			logger:   zap.New(core),
			refusals: newRefusals(zap.NewNop(), sources), unreached: newUnreached(zap.NewNop(), sources),
			lackedScopes: newLackedScopes(zap.NewNop()),
		}
		a.routes.listens, a.routes.perAccount = listens, map[string]bool{"a": false, "b": false}
		a.warnOfNeighbours()
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
	looked := theNeighbours.known["127.0.0.1:8080"].looked
	at := func(after time.Duration) []string {
		processes, _ := theNeighbours.at("127.0.0.1:8080", looked.Add(after))
		return processes
	}
	if len(at(lookEvery-1)) != 1 || looks != 1 {
		t.Error("it was looked up again too soon")
	}
	if len(at(lookEvery)) != 0 || looks != 2 {
		t.Error("it was not looked up again")
	}
	start(map[string][]string{"a": {"127.0.0.1:9090"}})
	shared = true
	start(map[string][]string{"a": {"127.0.0.1:8080"}})
	if logged.Len() != 2 {
		t.Errorf("%d lines after the address was used again", logged.Len())
	}
}

// A process that shares an address later is logged when the state is asked for, and so is its end.
// The metric and the list of warnings have it as long as it is so.
func TestNeighbourThatComesLater(t *testing.T) {
	before := theNeighbours
	t.Cleanup(func() { theNeighbours = before })
	synctest.Test(t, func(t *testing.T) {
		shared := map[string]bool{}
		theNeighbours = &neighbours{others: func(address string) []string {
			if shared[address] {
				return []string{"caddy (process 42)"}
			}
			return nil
		}}
		core, logged := observer.New(zap.DebugLevel)
		sources := slices.Values([]string{"a"})
		a := &App{
			logger:   zap.New(core),
			refusals: newRefusals(zap.NewNop(), sources), unreached: newUnreached(zap.NewNop(), sources),
			lackedScopes: newLackedScopes(zap.NewNop()),
		}
		a.routes.listens = map[string][]string{"a": {"127.0.0.1:8080"}}
		a.routes.perAccount = map[string]bool{"a": false}
		ready := func() (warnings []string) {
			t.Helper()
			virtual.Advance(lookEvery)
			asked := httptest.NewRequest(http.MethodGet, "/authinject/ready", nil)
			asked = asked.WithContext(context.WithValue(asked.Context(), http.LocalAddrContextKey,
				net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:2019"))))
			w := httptest.NewRecorder()
			if err := a.serveReady(w, asked); err != nil {
				t.Fatal(err)
			}
			var answer struct{ Warnings []string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			return answer.Warnings
		}
		a.warnOfNeighbours()
		if warnings := ready(); warnings == nil || len(warnings) != 0 || logged.Len() != 0 {
			t.Fatalf("alone: %q, %d lines", warnings, logged.Len())
		}
		for _, address := range []string{"127.0.0.1:8080", "127.0.0.1:2019"} { // a site, and the admin API
			shared[address] = true
			for range 2 {
				if warnings := ready(); len(warnings) != 1 || !strings.Contains(warnings[0], address+", and gets a part") {
					t.Errorf("%s is shared: warnings %q", address, warnings)
				}
			}
			shared[address] = false
			for range 2 {
				if warnings := ready(); len(warnings) != 0 {
					t.Errorf("%s is not shared any more: %q", address, warnings)
				}
			}
			lines := logged.TakeAll()
			if len(lines) != 2 || lines[0].Level != zapcore.WarnLevel || lines[1].Level != zapcore.InfoLevel ||
				lines[0].ContextMap()["listener"] != address || lines[1].ContextMap()["listener"] != address {
				t.Errorf("%s: logged %+v", address, lines)
			}
		}
	})
}

// Only TCP listeners are looked up.
func TestTCPAddresses(t *testing.T) {
	got := tcpAddresses([]string{":8080", "tcp4/127.0.0.1:81", "unix//run/a.sock", "udp/:53", "fd/3", "[::1]:8000-8005"})
	if want := []string{":8080", "127.0.0.1:81", "[::1]:8000"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Only Caddy's error about a listener has the address that is taken.
func TestTakenAddress(t *testing.T) {
	for text, want := range map[string]string{
		"http app module: start: listening on 127.0.0.1:80: listen tcp 127.0.0.1:80: bind: address already in use": "127.0.0.1:80",
		"http app module: start: listening on [::1]:80: listen tcp [::1]:80: bind: address already in use":         "[::1]:80",
		"layer4 app module: start: bind: address already in use":                                                   "",
		"http app module: start: listening on :80: listen tcp :80: bind: permission denied":                        "",
		"validation complete": "",
	} {
		address, ok := takenAddress(errors.New(text))
		if ok != (want != "") || ok && address != want {
			t.Errorf("%q: %q, %v", text, address, ok)
		}
	}
	if _, ok := takenAddress(nil); ok {
		t.Error("a configuration that runs has an error")
	}
}
