package authinject

import (
	"errors"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

func TestParseDestinationsRefuses(t *testing.T) {
	for _, test := range []struct{ pattern, want string }{
		{"", "host is missing"},
		{"https://", "host is missing"},
		{"ftp://api.example.com", "neither https nor http"},
		{"https://user:hunter2@api.example.com", `"@"`},
		{"https://api.example.com/v1", `"/"`},
		{"https://api.example.com//", `"/"`},
		{"https://api.example.com?x", `"?"`},
		{"https://api.example.com#x", `"#"`},
		{`https://api.example.com\@evil.example`, `"\\"`},
		{"https://{deployment}.example.com", `"{"`},
		{"https://api.example.com:", "port"},
		{"https://api.example.com:0", "port"},
		{"https://api.example.com:65536", "port"},
		{"https://api.example.com:https", "port"},
		{"https://::1", "brackets"},
		{"https://[::1", "brackets"},
		{"https://[127.0.0.1", "not a host"},
		{"https://[fe80::1%25eth0]", "not a host"},
		{"https://[fe80::1%eth0]", "zone"},
		{"https://0.0.0.0", "unspecified"},
		{"https://[::]", "unspecified"},
		{"https://[::ffff:0.0.0.0]", "unspecified"},
		{"https://127.1", "IPv4"},
		{"https://2130706433", "IPv4"},
		{"https://0x7f.0.0.1", "IPv4"},
		{"https://0x7f000001", "IPv4"},
		{"https://0177.0.0.1", "IPv4"},
		{"https://127.0.0.1.", "IPv4"},
		{"https://127。0。0。01", "IPv4"},
		{"https://api..example.com", "not a host"},
		{"https://api example.com", "not a host"},
		{"https://*", "star"},
		{"https://*.com", "two labels"},
		{"https://*.0.0.1", "IPv4"},
		{"https://*.[::1]", "two labels"},
		{"https://api.*.com", "star"},
		{"https://a*.example.com", "star"},
		{"https://*.*.example.com", "star"},
		{"https://xn--a.example.com", "not a host"},
		{"unix/run/x.sock", "starts with /"},
		{"unix/", "starts with /"},
		{"unix//run/link/../api.sock", "symbolic link"},
	} {
		_, err := ParseDestinations(test.pattern)
		if err == nil || !strings.Contains(strings.TrimSuffix(err.Error(), destinationForms), test.want) {
			t.Errorf("%q: error %v, want one with %q", test.pattern, err, test.want)
			continue
		}
		if !strings.Contains(err.Error(), "allowed are https://host") {
			t.Errorf("%q: the error does not say what is allowed: %v", test.pattern, err)
		}
		rig.MustNotHold(t, "the error", err.Error(), "hunter2")
	}
}

// target parses "scheme://host:port" or "unix:path" from a test's table, without normalizing it.
func target(s string) Target {
	if path, found := strings.CutPrefix(s, "unix:"); found {
		return Target{Network: "unix", Host: path}
	}
	scheme, rest, _ := strings.Cut(s, "://")
	host, port := rest, ""
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		host, port = rest[:i], rest[i+1:]
	}
	return Target{Scheme: scheme, Host: host, Port: port}
}

func TestDestinationsMatch(t *testing.T) {
	for _, test := range []struct{ pattern, allowed, refused string }{
		{
			"https://api.example.com",
			"https://api.example.com https://API.Example.COM:443 https://api.example.com. HTTPS://api.example.com",
			"http://api.example.com http://api.example.com:443 https://api.example.com:8443 https://example.com " +
				"https://x.api.example.com https://api.example.com.evil.example https://evil-api.example.com " +
				"https://api.example.com.. ftp://api.example.com",
		},
		{"HTTPS://API.example.com./", "https://api.example.com", "https://api.example.org"},
		{"https://api.example.com:8443", "https://api.example.com:8443 https://api.example.com:08443",
			"https://api.example.com https://api.example.com:443 https://api.example.com:+8443"},
		{
			"https://*.orders.example.com",
			"https://eu.orders.example.com https://EU.Orders.example.com.",
			"https://orders.example.com https://a.b.orders.example.com https://.orders.example.com " +
				"https://evilorders.example.com http://eu.orders.example.com https://eu.orders.example.com.evil.example",
		},
		{"https://bücher.example.com", "https://xn--bcher-kva.example.com https://BÜCHER.example.com",
			"https://bucher.example.com"},
		{"api.example.com", "https://api.example.com", "http://api.example.com http://api.example.com:443"},
		{"http://legacy.example.com", "http://legacy.example.com http://legacy.example.com:80",
			"https://legacy.example.com http://legacy.example.com:8080 https://legacy.example.com:80"},
		{"http://*.legacy.example.com:81", "http://a.legacy.example.com:81", "http://a.legacy.example.com"},
		{"https://my_service", "https://my_service", "https://my-service"},
		{
			"http://127.0.0.1:8080",
			"http://127.0.0.1:8080 http://[::ffff:127.0.0.1]:8080 http://[::ffff:7f00:1]:8080",
			"http://127.0.0.1 http://localhost:8080 http://127.1:8080 http://2130706433:8080 http://0x7f000001:8080 " +
				"http://0177.0.0.1:8080 http://0.0.0.0:8080 http://[::]:8080 http://[::1]:8080 http://[::127.0.0.1]:8080 " +
				"http://127.0.0.1.:8080 http://127.0.0.2:8080 http://１２７.0.0.1.evil.example:8080",
		},
		{"http://[::1]:80", "http://[::1] http://[0:0:0:0:0:0:0:1]:80", "http://127.0.0.1 http://[::]:80 " +
			"http://[::1%25lo]:80 http://[::1%lo]:80"},
		{"127.0.0.1:9000", "http://127.0.0.1:9000 https://127.0.0.1:9000", "http://127.0.0.1:9001"},
		{"localhost", "http://localhost https://localhost http://LOCALHOST:80",
			"http://localhost:443 http://localhost.evil.example http://evil.localhost"},
		{"https://localhost:8443", "https://localhost:8443", "http://localhost:8443"},
		{"192.0.2.1:80", "https://192.0.2.1:80", "http://192.0.2.1:80"},
		{"unix//run/api.sock", "unix:/run/api.sock unix:/run/./api.sock",
			"unix:/run/other.sock unix:/run/api.sock/../evil.sock unix:/run/link/../api.sock unix:/run/api.sock/.. " +
				"http://run/api.sock unix:"},
	} {
		d := destinations(t, "https://unrelated.example", test.pattern)
		for allowed := range strings.FieldsSeq(test.allowed) {
			if err := d.Check(target(allowed)); err != nil {
				t.Errorf("%s refuses %s: %v", test.pattern, allowed, err)
			}
		}
		for refused := range strings.FieldsSeq(test.refused) {
			if d.Match(target(refused)) {
				t.Errorf("%s allows %s", test.pattern, refused)
			}
		}
	}
	if d := destinations(t, "http://[::1]:80"); !d.Match(Target{Scheme: "http", Host: "::1", Port: "80"}) {
		t.Error("an IPv6 address without brackets is refused")
	}
	if d := (Destinations{}); !d.IsZero() || d.Match(target("https://api.example.com")) || d.Match(Target{}) ||
		d.Match(Target{Network: "unix"}) {
		t.Error("the zero Destinations allow something")
	}
	if d := destinations(t, "https://api.example.com"); d.Match(Target{Network: "udp", Scheme: "https",
		Host: "api.example.com"}) {
		t.Error("a network that is none of ours is allowed")
	}
}

// Hosts that a client can write into a URL, and that a program may read as another host.
func TestDestinationsRefuseCraftedHosts(t *testing.T) {
	d := destinations(t, "https://api.example.com", "https://*.orders.example.com")
	for _, host := range []string{
		"api.example.com@evil.example", "evil.example\\@api.example.com", "evil.example/api.example.com",
		"api.example.com%2eevil.example", "api.example.com\x00", "api.example.com\r\n", " api.example.com",
		"evil.example#.orders.example.com", "evil?.orders.example.com", "a/.orders.example.com", "[api.example.com]",
		"api.example.com:443", "*.orders.example.com", "", ".", "[]",
	} {
		if d.Match(Target{Scheme: "https", Host: host}) {
			t.Errorf("%q is allowed", host)
		}
	}
}

func TestDestinationErrorSaysWhatToDo(t *testing.T) {
	d := destinations(t, "https://api.example.com", "https://*.orders.example.com", "https://port.example.com:8443")
	for _, test := range []struct {
		target   string
		insecure bool
		want     string
	}{
		{"https://evil.example:8443", false, "no token is sent to https://evil.example:8443: it is not among the " +
			"destinations of this token source; the option destinations lists what is allowed: https://api.example.com " +
			"https://*.orders.example.com https://port.example.com:8443"},
		{"http://api.example.com", true, "no token is sent to http://api.example.com: it is plain http, where others on " +
			"the way can read the token; use https, or allow it by writing http://api.example.com in the option destinations"},
		{"http://eu.orders.example.com:80", true, "plain http"},
		{"http://api.example.com:8080", false, "not among"},
		{"http://port.example.com:8080", false, "not among"},
		{"http://port.example.com:8443", true, "plain http"},
		{"unix:/run/x.sock", false, "no token is sent to unix//run/x.sock"},
	} {
		err := d.Check(target(test.target))
		var refused *DestinationError
		if !errors.As(err, &refused) || refused.Insecure != test.insecure || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.target, err)
		}
	}
	if err := d.WithPreset("tiltify").Check(target("https://evil.example")); !strings.HasSuffix(err.Error(),
		"port.example.com:8443 (set by provider tiltify, unless you write the option yourself)") {
		t.Errorf("of a preset: %v", err)
	}
	if err := d.Check(Target{Scheme: "https", Host: strings.Repeat("a", 10000)}); len(err.Error()) > 1000 {
		t.Errorf("the error about a long host has %d bytes", len(err.Error()))
	}
	if got := d.String(); got != "https://api.example.com https://*.orders.example.com https://port.example.com:8443" {
		t.Errorf("String: %s", got)
	}
}

// Match runs for every request, so it must not allocate.
func TestDestinationsCheckAllocatesNothing(t *testing.T) {
	d := destinations(t, "https://other.example", "https://*.orders.example.com:8443", "http://127.0.0.1:8080")
	to := Target{Scheme: "https", Host: "eu.orders.example.com", Port: "8443"}
	if n := testing.AllocsPerRun(100, func() {
		if d.Check(to) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

func FuzzDestinations(f *testing.F) {
	for _, seed := range []string{"api.example.com", "127.1", "[::1]", "bücher.example", "xn--a", "a.orders.example.com",
		"０.0.0.0"} {
		f.Add(seed)
	}
	d, err := ParseDestinations("https://api.example.com", "https://*.orders.example.com")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host string) {
		normal, err := normalizeHost(host)
		if err == nil {
			// Normalizing a normalized host changes nothing.
			if again, err := normalizeHost(normal); err != nil || again != normal {
				t.Errorf("%q becomes %q, which becomes %q (%v)", host, normal, again, err)
			}
		}
		label, isOrders := strings.CutSuffix(normal, ".orders.example.com")
		allowed := err == nil && (normal == "api.example.com" || isOrders && label != "" && !strings.Contains(label, "."))
		if d.Match(Target{Scheme: "https", Host: host}) != allowed {
			t.Errorf("%q (%q): allowed %t", host, normal, !allowed)
		}
	})
}
