package azure

import (
	"testing"

	"github.com/authinject/caddy-authinject/grants/internal/guesttest"
)

// Each configuration of the README runs, in each place that it names.
func TestREADME(t *testing.T) {
	for i, config := range guesttest.README(t) {
		for want, place := range map[string]func(c *cloud){
			"":            func(*cloud) {},
			" of the app": (*cloud).onAppService,
			"the pod":     (*cloud).onKubernetes,
		} {
			c := newCloud(t)
			t.Setenv("IDENTITY_CLIENT_ID", userID)
			place(c)
			if want != "the pod" {
				want = []string{"the machine", "user-assigned"}[i] + want
			}
			if got := c.live[guesttest.TokenOf(t, config, func() []string {
				return []string{header, "pod-token-canary"}
			})]; got != want {
				t.Errorf("the token is %q, want %q", got, want)
			}
		}
	}
}
