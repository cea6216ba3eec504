package connect

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// The policy allows the script that is in the page, and no other.
func TestScriptIsAllowedByItsHash(t *testing.T) {
	page := &Page{Path: "/connect", AnyCaller: true}
	res := httptest.NewRecorder()
	page.ServeHTTP(res, httptest.NewRequest("GET", "http://localhost/connect", nil))
	_, script, _ := strings.Cut(res.Body.String(), "<script>")
	script, _, found := strings.Cut(script, "</script>")
	if !found || strings.Count(res.Body.String(), "<script") != 1 {
		t.Fatalf("the page has not one script:\n%s", res.Body)
	}
	policy := res.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "; script-src "+hashOf(script)+"; connect-src 'self'") ||
		strings.Count(policy, "script-src") != 1 {
		t.Errorf("the policy is %s", policy)
	}
}
