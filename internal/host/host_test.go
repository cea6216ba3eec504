package host_test

import (
	"testing"

	"github.com/authinject/caddy-authinject/internal/host"
)

func TestHosts(t *testing.T) {
	for name, want := range map[string]struct{ loopback, near bool }{
		"localhost":          {true, true},
		"LocalHost":          {true, true},
		"localho\u017ft":     {}, // a long s, which folds to s outside ASCII
		"localhost.":         {false, true},
		"a.localhost":        {false, true},
		"localhost.example":  {},
		"127.0.0.1":          {true, true},
		"127.8.9.10":         {true, true},
		"::1":                {true, true},
		"::ffff:127.0.0.1":   {true, true},
		"::1%lo":             {false, true},
		"127.1":              {},
		"0.0.0.0":            {false, true},
		"::":                 {false, true},
		"169.254.169.254":    {false, true},
		"fe80::1":            {false, true},
		"::ffff:169.254.1.1": {false, true},
		"10.0.0.1":           {},
		"fd00::1":            {},
		"":                   {},
		":":                  {},
		"1":                  {},
	} {
		if got := host.IsLoopback(name); got != want.loopback {
			t.Errorf("IsLoopback(%q) = %t", name, got)
		}
		if got := host.IsLoopbackInZone(name); got != (want.loopback || name == "::1%lo") {
			t.Errorf("IsLoopbackInZone(%q) = %t", name, got)
		}
		if got := host.IsNear(name); got != want.near {
			t.Errorf("IsNear(%q) = %t", name, got)
		}
	}
}

func TestNames(t *testing.T) {
	for field, want := range map[string]string{
		"Proxy.example.com:8080": "Proxy.example.com", "proxy.example.com": "proxy.example.com", "[::1]:80": "::1",
		"[::1]": "::1", "": "",
	} {
		if got := host.Name(field); got != want {
			t.Errorf("Name(%q) = %q, want %q", field, got, want)
		}
	}
	for raw, want := range map[string][2]string{
		"https://Login.Example.com:443/authorize?x": {"login.example.com", "https://login.example.com"},
		"HTTP://[::1]:80/":                          {"::1", "http://[::1]"},
		"http://a.example:443":                      {"a.example", "http://a.example:443"},
		"https://a.example:8443/x":                  {"a.example", "https://a.example:8443"},
		"/path":                                     {"", ""},
		"http://%zz":                                {"", ""},
	} {
		if name, origin := host.OfURL(raw), host.Origin(raw); name != want[0] || origin != want[1] {
			t.Errorf("of %q: %q, %q", raw, name, origin)
		}
	}
}

func TestNamesCostNoAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { host.IsLoopbackInZone("api.example.com") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
