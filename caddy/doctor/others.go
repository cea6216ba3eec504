package doctor

import (
	"cmp"
	"fmt"
)

// maxOthers limits the other accounts that are named.
const maxOthers = 10

// others reports the source's other accounts that are not connected or that have a problem.
func (x *exam) others() {
	const step = "accounts"
	left, other := 0, *x
	for _, o := range x.Others {
		if !o.Wanted && o.Words == "" {
			continue
		}
		if left++; left > maxOthers {
			continue
		}
		other.Account = o.Account
		switch {
		case o.Wanted:
			x.warn(step, fmt.Sprintf("requests ask for %s, which is not connected", other.who()), other.loginRemedy())
		default:
			x.warn(step, other.who()+": "+o.Words, cmp.Or(o.Remedy, other.loginRemedy()))
		}
	}
	if left > maxOthers {
		x.warn(step, fmt.Sprintf("%d more accounts need something", left-maxOthers),
			"run caddy authinject status: it lists all accounts")
	}
}
