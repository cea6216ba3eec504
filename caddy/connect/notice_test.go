package connect

import (
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// The notice of a mistake in the configuration says what happened, with the status, and what to do.
func TestNoticeNamesTheRemedy(t *testing.T) {
	n := loginNotice(&tokensource.Error{
		Class: tokensource.ClassOperator, Reason: "the token endpoint answered", Status: 401, Code: "invalid_client",
	}, false)
	const want = "The token endpoint answered 401 invalid_client. What to do: check client_id, client_secret and " +
		"client_auth."
	if n.Detail != want {
		t.Errorf("got %q, want %q", n.Detail, want)
	}
}

// A reason is not repeated if the text has it, at the start of a sentence or within one.
func TestSaysReason(t *testing.T) {
	for text, want := range map[string]bool{
		"No valid token: the storage cannot be read. The next try is in 2 s.": true,
		"The storage cannot be read.":                                         true, "The storage cannot be written.": false,
	} {
		if got := saysReason(text, "The storage cannot be read."); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
