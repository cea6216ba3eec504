package doctor

import (
	"strings"
	"testing"
)

// Neither a secret nor a control character of a stranger's text gets into a report.
func TestReportIsClean(t *testing.T) {
	r := NewReport()
	r.Caddyfile("")
	r.Hide("canary-secret")
	r.Hide("ab") // too short to be told from other text
	r.Add(Step{Name: "tls", Status: Warn, Text: "abc canary-secret\x1b[31m\n x\u202e", Remedy: "canary-secret"})
	r.Change(Change{In: "source a", Add: "client_secret canary-secret"})
	r.Change(Change{In: "source a", Add: "client_secret canary-secret"})
	var text, asJSON strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&asJSON); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{text.String(), asJSON.String()} {
		if strings.Contains(out, "canary") || strings.ContainsAny(out, "\x1b\u202e") ||
			strings.Count(out, "client_secret REDACTED") != 1 {
			t.Error(out)
		}
	}
	if !strings.Contains(text.String(), "  warn  tls: abc REDACTED [31m  x \n        -> REDACTED\n") {
		t.Errorf("%q", text.String())
	}
	if !r.OK {
		t.Error("a warning is a failure")
	}
	if r.Add(Step{Name: "tls", Status: Fail}); r.OK {
		t.Error("a failure is none")
	}
}

// If two steps of a source have the same remedy, it is printed once.
func TestARemedyIsPrintedOnce(t *testing.T) {
	r := NewReport()
	r.Add(Step{Source: "a", Name: "client_authentication", Status: Fail, Text: "refused", Remedy: "check client_id. Or else"})
	r.Add(Step{Source: "a", Name: "server", Status: Fail, Text: "refused, too", Remedy: "check client_id"})
	r.Add(Step{Source: "b", Name: "server", Status: Fail, Text: "refused", Remedy: "check client_id"})
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	const want = `source a
  fail  client authentication: refused
        -> check client_id. Or else
  fail  server: refused, too
        -> as for client authentication above

source b
  fail  server: refused
        -> check client_id

`
	if !strings.HasPrefix(text.String(), want) {
		t.Errorf("%s", text.String())
	}
}
