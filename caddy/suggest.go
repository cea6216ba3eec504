package caddy

import (
	"slices"
	"strings"
)

// didYouMean returns the part of an error that names the known word that is most like word; empty if
// none is.
func didYouMean(word string, known []string) string {
	best, least := "", len(word)/3+1 // a third of the letters may be wrong, and one in any word
	for _, other := range known {
		if d := distance(strings.ToLower(word), other, least+1); d < least || d == least && best == "" {
			best, least = other, d
		}
	}
	if best == "" || len(word) < 3 {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// distance is how many letters must be replaced, inserted, removed or swapped with their neighbour to
// turn a into b; limit if it is that many or more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = last[j-1]
			if a[i-1] != b[j-1] {
				row[j]++
			}
			row[j] = min(row[j], last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return min(slices.Min(row[len(b):]), limit)
}
