package caddy

import (
	"strings"

	"github.com/authinject/caddy-authinject/caddy/doctor"
)

// didYouMean returns the part of an error that names the known word that is most like word; empty if
// none is. A third of the letters may be wrong, and one in any word.
func didYouMean(word string, known []string) string {
	best := doctor.Nearest(strings.ToLower(word), known, len(word)/3+1)
	if best == "" || len(word) < 3 {
		return ""
	}
	return " (did you mean " + best + "?)"
}
