package suggest

import "testing"

// The suggestion is the most similar known word, or the known word for an alias.
func TestDidYouMean(t *testing.T) {
	source := []string{"accelo", "token_url", "client_id", "client_secret", "scopes", "grant", "token_param",
		"default_lifetime"}
	auths := []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "none"}
	for _, row := range []struct {
		known []string
		want  map[string]string
	}{
		{source, map[string]string{
			"token_uri": "token_url", "acello": "accelo", "Accello": "accelo", "clientid": "client_id", "scope": "scopes",
			"client-secret": "client_secret", "tokenurl": "token_url", "gratn": "grant",
			"secret": "client_secret", "id": "client_id", "audience": "token_param audience", "lifetime": "default_lifetime",
			"nobody": "", "x": "", "to": "", "completely_other": "", "": "", "device": "", "basic": "",
		}},
		{auths, map[string]string{
			"basic": "client_secret_basic", "Post": "client_secret_post", "jwt": "private_key_jwt", "mtls": "tls_client_auth",
			"client_secret_basik": "client_secret_basic", "tls": "tls_client_auth", "public": "none", "hmac": "",
		}},
		{[]string{"S256", "none"}, map[string]string{"s256": "S256", "plain": "S256", "S265": "S256", "off": "none"}},
		{[]string{"form", "json", "query"}, map[string]string{"from": "form", "qurey": "query", "urlencoded": "form",
			"xml": ""}},
		{nil, map[string]string{"scope": ""}},
	} {
		for word, want := range row.want {
			if want != "" {
				want = " (did you mean " + want + "?)"
			}
			if got := DidYouMean(word, row.known); got != want {
				t.Errorf("%q gives %q, want %q", word, got, want)
			}
		}
	}
}

// The words of an error name all known words, with or without a suggestion.
func TestAllowed(t *testing.T) {
	known := []string{"form", "json"}
	for word, want := range map[string]string{
		"from": " (did you mean form?); allowed are form, json", "xml": "; allowed are form, json",
		"": "; allowed are form, json",
	} {
		if got := Allowed(word, known); got != want {
			t.Errorf("%q gives %q, want %q", word, got, want)
		}
	}
}

// A word in the table of synonyms is written as words are looked up.
func TestSynonymsAreInLowerCase(t *testing.T) {
	for word, meanings := range synonyms {
		if len(meanings) == 0 {
			t.Errorf("%q has no meaning", word)
		}
		for _, letter := range word {
			if letter >= 'A' && letter <= 'Z' {
				t.Errorf("%q is not in lower case, so it is never found", word)
			}
		}
	}
}
