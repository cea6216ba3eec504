package caddy

import "testing"

// Without a grant, the usual grant of the preset decides.
func TestHasLogin(t *testing.T) {
	for _, row := range []struct {
		grant, preset string
		want          bool
	}{
		{"authorization_code", "", true},
		{"device_code", "tiltify", true},
		{"client_credentials", "tiltify", false},
		{"", "tiltify", true},
		{"", "", false},
		{"unknown", "tiltify", false},
	} {
		if got := hasLogin(row.grant, row.preset); got != row.want {
			t.Errorf("grant %q, provider %q: %v", row.grant, row.preset, got)
		}
	}
}
