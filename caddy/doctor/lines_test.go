package doctor

import (
	"slices"
	"strings"
	"testing"
)

// A change removes only lines that are in the Caddyfile, and shows them unchanged. A value from a
// preset or a default has no line.
func TestChangesRemoveOnlyLinesThatAreThere(t *testing.T) {
	caddyfile := strings.Join([]string{
		"{", "authinject {", "  source a {", "    client_auth   none", "    scopes a", `    scopes "b"`,
		"    grant static {", "      token x", "    }",
		"    expires 2026-01-01T00:00:00Z", "    client_secret short", "  }",
		"  source b {", "    destinations https://b", "  }", "}", "}",
		"http://127.0.0.1:8080 {", "  authinject a https://x {", "    allow_origins *", "  }",
		"  authinject /y/* a https://x",
		"  authinject b https://x",
		"  reverse_proxy https://z:8080 {", "  }", "}",
	}, "\n")
	for _, c := range []struct {
		change Change
		want   []Change
	}{
		{Change{In: "source a", Remove: "client_auth none", Add: "client_auth x"},
			[]Change{{In: "source a", Remove: "client_auth   none", Add: "client_auth x"}}},
		{Change{In: "source a", Remove: "destinations https://b", Add: "destinations https://c"},
			[]Change{{In: "source a", Add: "destinations https://c"}}},
		{Change{In: "source a", Remove: "destinations https://b"}, nil},
		{Change{In: "source a", Remove: "scopes a b", Add: "scopes a"},
			[]Change{{In: "source a", Remove: "scopes a"}, {In: "source a", Remove: `scopes "b"`, Add: "scopes a"}}},
		{Change{In: "source a", Remove: "expires …", Add: "expires x"},
			[]Change{{In: "source a", Remove: "expires 2026-01-01T00:00:00Z", Add: "expires x"}}},
		{Change{In: "source a", Remove: "client_secret …", Add: "client_secret {env.X}", secret: true},
			[]Change{{In: "source a", Remove: "client_secret …", Add: "client_secret {env.X}"}}},
		{Change{In: "source a", Add: "refresh_before 30s"}, []Change{{In: "source a", Add: "refresh_before 30s"}}},
		{Change{In: "source none", Remove: "scopes a", Add: "scopes b"}, []Change{{In: "source none", Add: "scopes b"}}},
		{Change{In: "the site", Remove: "authinject… a https://x", Add: "authinject… a https://y"}, []Change{
			{In: "the site", Remove: "authinject a https://x {", Add: "authinject a https://y {"},
			{In: "the site", Remove: "authinject /y/* a https://x", Add: "authinject /y/* a https://y"},
		}},
		{Change{In: "the site", Remove: "authinject… a https://z", Add: "authinject… a https://y"}, nil},
		{Change{In: "the site", Remove: "…:8080 {", Add: "…:<a free port> {"},
			[]Change{{In: "the site", Remove: "http://127.0.0.1:8080 {", Add: "http://127.0.0.1:<a free port> {"}}},
		{Change{In: "the site", Remove: "…:8081 {", Add: "…:<a free port> {"}, nil},
	} {
		r := NewReport()
		r.Caddyfile(caddyfile)
		if r.Change(c.change); !slices.Equal(r.Changes, c.want) {
			t.Errorf("%+v gives\n%+v, want\n%+v", c.change, r.Changes, c.want)
		}
		r = NewReport() // the configuration is JSON
		if r.Change(c.change); len(r.Changes) != 0 {
			t.Errorf("without a Caddyfile: %+v", r.Changes)
		}
	}
}
