package doctor

// Nearest returns the word that is written most like text, or nothing if each differs in more letters
// than limit.
func Nearest(text string, words []string, limit int) (best string) {
	for _, word := range words {
		if d := distance(text, word); d <= limit {
			best, limit = word, d-1
		}
	}
	return best
}

// distance counts the letters to insert, remove, replace or swap with their neighbour to turn a into b.
func distance(a, b string) int {
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
	return row[len(b)]
}
