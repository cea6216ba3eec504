package caddy

import "testing"

func TestDidYouMean(t *testing.T) {
	for word, want := range map[string]string{
		"token_uri": "token_url", "acello": "accelo", "Accello": "accelo", "clientid": "client_id", "scope": "scopes",
		"client-secret": "client_secret", "tokenurl": "token_url", "gratn": "grant",
		"nobody": "", "x": "", "to": "", "completely_other": "", "": "",
	} {
		got := didYouMean(word, []string{"accelo", "token_url", "client_id", "client_secret", "scopes", "grant"})
		if want != "" {
			want = " (did you mean " + want + "?)"
		}
		if got != want {
			t.Errorf("%q gives %q, want %q", word, got, want)
		}
	}
}
