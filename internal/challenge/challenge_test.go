package challenge

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	type params = map[string]string
	for name, test := range map[string]struct {
		lines []string
		want  []Challenge
	}{
		"no line":          {nil, nil},
		"an empty line":    {[]string{""}, nil},
		"only a scheme":    {[]string{"Basic"}, []Challenge{{"Basic", params{}}}},
		"a quoted value":   {[]string{`Bearer realm="a, b=\"c\""`}, []Challenge{{"Bearer", params{"realm": `a, b="c"`}}}},
		"a plain value":    {[]string{"Bearer error=invalid_token"}, []Challenge{{"Bearer", params{"error": "invalid_token"}}}},
		"names in capital": {[]string{`Bearer ERROR="x"`}, []Challenge{{"Bearer", params{"error": "x"}}}},
		"spaces":           {[]string{"Bearer error = \"x\" ,\tscope=\"y z\""}, []Challenge{{"Bearer", params{"error": "x", "scope": "y z"}}}},
		"two in a line": {[]string{`Basic realm="a", Bearer error="x"`},
			[]Challenge{{"Basic", params{"realm": "a"}}, {"Bearer", params{"error": "x"}}}},
		"two lines": {[]string{"Negotiate", `Bearer error="x"`},
			[]Challenge{{"Negotiate", params{}}, {"Bearer", params{"error": "x"}}}},
		"twice the same name":      {[]string{`Bearer error="x", error="y"`}, []Challenge{{"Bearer", params{"error": "x"}}}},
		"no closing quote":         {[]string{`Bearer error="x`}, []Challenge{{"Bearer", params{"error": "x"}}}},
		"an escape at the end":     {[]string{`Bearer error="x\`}, []Challenge{{"Bearer", params{"error": "x"}}}},
		"a parameter of no one":    {[]string{`error="x", Bearer`}, nil},
		"a scheme as a name":       {[]string{`Bearer ="x"`}, nil},
		"a parameter across lines": {[]string{"Bearer", `error="x"`}, []Challenge{{"Bearer", params{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Parse(test.lines); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if !(Challenge{Scheme: "bearer"}).Is("Bearer") || (Challenge{Scheme: "Basic"}).Is("Bearer") {
		t.Error("schemes are compared wrongly")
	}
}
