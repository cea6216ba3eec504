package shell

import (
	"os/exec"
	"testing"
)

func TestWord(t *testing.T) {
	for text, want := range map[string]string{
		"leela":            "leela",
		"leela@planet.com": "leela@planet.com",
		"a/b-c_d.e:f,g+%=": "a/b-c_d.e:f,g+%=",
		"":                 "''",
		"a b":              "'a b'",
		"*":                "'*'",
		"it's":             `'it'\''s'`,
		"$(touch x)":       "'$(touch x)'",
		"x; touch x":       "'x; touch x'",
		"`touch x`":        "'`touch x`'",
		`a"b\c`:            `'a"b\c'`,
		"~root":            "'~root'",
		"zoë":              "'zoë'",
		"a\u202eb":         "<name>",
		"a\nb":             "<name>",
	} {
		if got := Word(text); got != want {
			t.Errorf("%q becomes %s, want %s", text, got, want)
		}
	}
}

// A real shell reads a word as the text that it stands for.
func FuzzWord(f *testing.F) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"leela", "a b", "it's", "$(id)", "`id`", `"\`, "!1", "*", "-n", "a;b", "#a", "zoë"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		word := Word(text)
		if word == "<name>" {
			return
		}
		got, err := exec.CommandContext(t.Context(), sh, "-c", "printf %s "+word).Output()
		if err != nil || string(got) != text {
			t.Errorf("%q becomes %s, which the shell reads as %q: %v", text, word, got, err)
		}
	})
}
