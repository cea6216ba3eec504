package rig

import (
	"fmt"
	"strings"
	"testing"
)

// MustNotHold fails the test if text holds one of the secrets, as text or as the numbers of its
// bytes.
func MustNotHold(t testing.TB, what, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		octets := strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret),
			fmt.Sprintf("% x", secret), octets} {
			if strings.Contains(text, form) {
				t.Errorf("%s holds the secret %q: %s", what, secret, text)
				break
			}
		}
	}
}
