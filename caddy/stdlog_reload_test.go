package caddy_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// Caddy replaces the output of the standard logger when it loads a configuration, even if that
// fails before the app is provisioned. The next request redacts the new output.
func TestStdLogStaysRedacted(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ok" {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 204 No Content\r\n\r\nmore: %s", r.Header.Get("Authorization"))
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		_, _ = conn.Read(make([]byte, 1)) // until the proxy has closed it
	}))
	defer upstream.Close()
	addr := staticSite(t, "canary-0123456789", upstream.URL)
	if status, body, _ := get(t, "http://"+addr+"/ok"); status != http.StatusOK {
		t.Fatalf("the proxy answered %d: %s", status, body)
	}
	before := log.Writer()
	t.Cleanup(func() { log.SetOutput(before) })
	var out rig.Output
	log.SetOutput(&out)
	if status, body, _ := get(t, "http://"+addr+"/more"); status != http.StatusNoContent {
		t.Fatalf("the proxy answered %d: %s", status, body)
	}
	rig.Eventually(t, func() bool { return strings.Contains(out.String(), "Unsolicited response") },
		"the log line about an unsolicited response")
	if strings.Contains(out.String(), "canary") {
		t.Errorf("the standard logger wrote %q", out.String())
	}
}
