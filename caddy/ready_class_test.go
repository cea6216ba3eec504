package caddy

import (
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// The class of a source without a token says who has to act, also when nothing has failed yet.
func TestClassOfASourceWithoutAToken(t *testing.T) {
	for name, row := range map[string]struct {
		status tokensource.Status
		want   tokensource.Class
	}{
		"not yet asked": {tokensource.Status{State: tokensource.StateNone}, tokensource.ClassWait},
		"expired":       {tokensource.Status{State: tokensource.StateExpired}, tokensource.ClassWait},
		"failed": {tokensource.Status{State: tokensource.StateNone,
			Err: &tokensource.Error{Class: tokensource.ClassOperator}}, tokensource.ClassOperator},
		"refused": {tokensource.Status{State: tokensource.StateFresh, Live: true, Refused: true},
			tokensource.ClassOperator},
		"login required": {tokensource.Status{State: tokensource.StateLoginRequired}, tokensource.ClassLogin},
	} {
		if got := classOf(row.status); got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}
