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

// distance counts the letters to insert, remove or replace between two texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := corner
			if a[i] != b[j] {
				replaced++
			}
			corner = row[j+1]
			row[j+1] = min(replaced, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
