package google

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/grants/internal/guesttest"
)

// secrets are the tokens that the emulation has issued, and a line of the service account's key.
func (c *cloud) secrets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := os.ReadFile(filepath.Join(c.dir, "service_account.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	return append(slices.Collect(maps.Keys(c.live)), string(text[200:260]))
}

// Each configuration of the README runs, and its requests carry the token that it describes.
func TestREADME(t *testing.T) {
	for i, config := range guesttest.README(t) {
		c := newCloud(t)
		t.Setenv("KEY_FILE", c.file("service_account"))
		want := []string{accountEmail, accountEmail, `{"aud":"https://service-1.run.app","email":"` + accountEmail,
			`{"aud":"https://service-1.run.app","email":"` + otherEmail}[i]
		if got := c.identityOf(guesttest.TokenOf(t, config, c.secrets)); !strings.HasPrefix(got, want) {
			t.Errorf("the token is %s, want %s", got, want)
		}
		if wantFile := strings.Contains(config, "credentials"); wantFile != strings.HasPrefix(c.requests[0], "POST oauth2") {
			t.Errorf("the first request is %s", c.requests[0])
		}
	}
}
