package doctor

import (
	"slices"
	"testing"
)

// A change removes only a line that the Caddyfile has. What a preset or a default sets has no line.
func TestChangesRemoveOnlyLinesThatAreThere(t *testing.T) {
	const caddyfile = "{\n\tauthinject {\n\t\tsource a {\n\t\t\tclient_auth   none\n\t\t\tscopes a\n\t\t\tscopes \"b\"\n\t\t\tgrant static {\n\t\t\t\ttoken x\n\t\t\t}\n" +
		"\t\t\texpires never\n\t\t}\n\t\tsource b {\n\t\t\tdestinations https://b\n\t\t}\n\t}\n}\n:8080 {\n\tauthinject a https://x {\n\t\tallow_origins *\n\t}\n}\n"
	for _, c := range []struct {
		change, want Change
		gone         bool
	}{
		{change: Change{In: "source a", Remove: "client_auth none", Add: "client_auth client_secret_post"}, want: Change{In: "source a", Remove: "client_auth none", Add: "client_auth client_secret_post"}},
		{change: Change{In: "source a", Remove: "destinations https://b", Add: "destinations https://c"}, want: Change{In: "source a", Add: "destinations https://c"}},
		{change: Change{In: "source a", Remove: "destinations https://b"}, gone: true},
		{change: Change{In: "source a", Remove: "scopes a b", Add: "scopes a"}, want: Change{In: "source a", Remove: "scopes …", Add: "scopes a"}},
		{change: Change{In: "source a", Remove: "expires …", Add: "expires x"}, want: Change{In: "source a", Remove: "expires …", Add: "expires x"}},
		{change: Change{In: "source a", Add: "refresh_before 30s"}, want: Change{In: "source a", Add: "refresh_before 30s"}},
		{change: Change{In: "source none", Remove: "scopes a", Add: "scopes b"}, want: Change{In: "source none", Add: "scopes b"}},
		{change: Change{In: "the site", Remove: "authinject … https://x", Add: "authinject … https://y"}, want: Change{In: "the site", Remove: "authinject … https://x", Add: "authinject … https://y"}},
		{change: Change{In: "the site", Remove: "authinject … https://z", Add: "authinject … https://y"}, gone: true},
		{change: Change{In: "the site", Remove: "… :8080 {", Add: "… :<a free port> {"}, want: Change{In: "the site", Remove: "… :8080 {", Add: "… :<a free port> {"}},
		{change: Change{In: "the site", Remove: "… :8081 {", Add: "… :<a free port> {"}, gone: true},
	} {
		r := NewReport()
		r.Caddyfile(caddyfile)
		r.Change(c.change)
		if want := []Change{c.want}; c.gone && len(r.Changes) != 0 || !c.gone && !slices.Equal(r.Changes, want) {
			t.Errorf("%+v gives %+v", c.change, r.Changes)
		}
		r = NewReport() // the configuration is JSON
		if r.Change(c.change); len(r.Changes) != 0 {
			t.Errorf("without a Caddyfile: %+v", r.Changes)
		}
	}
}
