package guest

import (
	"strings"
	"testing"
)

// If several placeholders have no value, the error names the first option, in each run.
func TestResolveNamesTheFirstOption(t *testing.T) {
	for range 20 {
		a, b, c := "fine", "{env.AUTHINJECT_NOT_SET_B}", "{env.AUTHINJECT_NOT_SET_C}"
		err := Resolve("some", Option{"a", &a}, Option{"b", &b}, Option{"c", &c})
		if err == nil || !strings.HasPrefix(err.Error(), "grant some: b: ") {
			t.Fatalf("got %v", err)
		}
	}
}
