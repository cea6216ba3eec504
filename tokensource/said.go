package tokensource

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// ProviderSaid returns what the provider's response says about the error, for an operator who asks for
// it: the error_description (RFC 6749 section 5.2), or else the member message or detail. It returns an
// empty string if the response has none of these. The text is the provider's own. It is not part of
// the error's text, and must not be put into a response to a client, a log or an event. Words that
// repeat or resemble what was sent are removed. If e asks for a login, the text may be about the last
// login; see [Error.LastLogin].
func (e *Error) ProviderSaid() string {
	if e.said.IsZero() && e.LastLogin != nil {
		return e.LastLogin.ProviderSaid()
	}
	return e.said.Reveal()
}

const (
	// maxSaid bounds how much of a provider's text is kept. maxSaidIn bounds how much of it is
	// read.
	maxSaid   = 300
	maxSaidIn = 1 << 10
	// maxSecretIn is the length of the longest secret that is looked for. If one is longer, no text
	// is kept.
	maxSecretIn = 16 << 10
	// leftOut replaces what was removed from the text.
	leftOut = redacted
	// longWord is the length from which a word with digits is removed. Without digits, it is twice
	// that.
	longWord = 20
	// sharedPart is how many letters in a row a word must share with a credential to be removed.
	sharedPart = 6
)

// saidIn returns the text about the error in members, without anything that the request contained.
// message is what HubSpot, Strava and others send, and detail is that of RFC 9457.
func (call *tokenCall) saidIn(members map[string]json.RawMessage) Secret {
	var said string
	for _, name := range []string{"error_description", "message", "detail"} {
		if json.Unmarshal(members[name], &said) == nil && said != "" {
			break
		}
	}
	if said == "" {
		return Secret{}
	}
	secrets := slices.Clone(call.secrets)
	for _, name := range []string{"access_token", "refresh_token", "id_token", "code"} {
		secrets = append(secrets, text(members, name))
	}
	return NewSecret(cleanText(said, call.cfg.ClientID, call.cfg.Scopes, secrets))
}

// cleanText returns a provider's text as one short line. It removes the words that may hold the
// client's id or a secret, even in another form, or a part of a secret. It keeps the
// configured scopes, because the text often names them.
func cleanText(said, clientID string, scopes, secrets []string) string {
	if len(said) > maxSaidIn {
		said = said[:maxSaidIn]
	}
	said = strings.ToValidUTF8(said, " ")
	said = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) { // including bidirectional marks and zero-width characters
			return ' '
		}
		return c
	}, said)
	clientID = strings.ToLower(clientID)
	var forms []string // of the secrets, in lower case
	for _, secret := range secrets {
		if len(secret) > maxSecretIn {
			return leftOut // looking for it would take too long
		}
		for _, part := range append(append(strings.Fields(secret), secret), encoded(secret)...) {
			if part = strings.ToLower(strings.TrimSpace(part)); part != "" {
				forms = append(forms, part)
			}
		}
	}
	var words []string
	var others strings.Builder // the words that are no scopes
	for word := range strings.FieldsSeq(said) {
		if !slices.Contains(scopes, strings.Trim(word, `.,:;!?'"()[]`)) {
			if isSuspect(word, clientID, forms) {
				word = leftOut
			}
			others.WriteString(word)
		}
		if word != leftOut || len(words) == 0 || words[len(words)-1] != leftOut {
			words = append(words, word)
		}
	}
	cleaned := strings.Join(words, " ")
	// Spaces or signs may separate the parts of a secret.
	if containsLetters(others.String(), clientID) { // a scope may begin with the client's id
		return leftOut
	}
	for _, secret := range secrets {
		if containsLetters(cleaned, secret) {
			return leftOut
		}
	}
	if runes := []rune(cleaned); len(runes) > maxSaid {
		cleaned = string(runes[:maxSaid]) + "…"
	}
	return cleaned
}

// isSuspect reports whether a word holds the client's id or a secret in one of its forms, shares a
// part of sharedPart letters with a secret, or is so long that it may be a credential.
func isSuspect(word, clientID string, secrets []string) bool {
	digits := strings.ContainsAny(word, "0123456789")
	if len(word) >= 2*longWord || len(word) >= longWord && digits {
		return true
	}
	for _, form := range decoded(word) {
		form = strings.ToLower(form)
		if clientID != "" && strings.Contains(form, clientID) {
			return true
		}
		for _, secret := range secrets {
			if strings.Contains(form, secret) || sharePart(form, secret) {
				return true
			}
		}
	}
	return false
}

// decoded returns a word and what it decodes to from percent-encoding, hexadecimal and base64. It
// decodes base64 at every offset, because a credential may be in the middle of the encoded text.
func decoded(word string) []string {
	forms := []string{word}
	if plain, err := url.QueryUnescape(word); err == nil && plain != word {
		forms = append(forms, plain)
	}
	for _, run := range strings.FieldsFunc(word, func(c rune) bool {
		return c > 'z' || !strings.ContainsRune("+/-_", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	}) {
		if plain, err := hex.DecodeString(run[:len(run)/2*2]); err == nil && len(plain) > 2 {
			forms = append(forms, string(plain))
		}
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for from := range min(4, len(run)) {
			part := run[from:]
			if plain, err := base64.RawStdEncoding.DecodeString(part[:len(part)/4*4]); err == nil && len(plain) > 2 {
				forms = append(forms, string(plain))
			}
		}
	}
	return forms
}

// encoded returns a secret in its encoded forms.
func encoded(secret string) []string {
	return []string{
		url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
	}
}

// sharePart reports whether a word and a secret have sharedPart letters in a row in common.
func sharePart(word, secret string) bool {
	for from := 0; from+sharedPart <= len(word); from++ {
		if strings.Contains(secret, word[from:from+sharedPart]) {
			return true
		}
	}
	return false
}

// containsLetters reports whether the letters and digits of text contain the letters and digits of
// secret. It returns false if secret has fewer than four.
func containsLetters(text, secret string) bool {
	bits := letters(secret)
	return len(bits) >= 4 && strings.Contains(letters(text), bits)
}

// letters returns the letters and digits of a text in lower case.
func letters(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, text)
}
