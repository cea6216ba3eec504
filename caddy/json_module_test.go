package caddy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// A field of one module is explained. A list or a map of modules is not called wrong: only the
// module knows its form.
func TestExplainFieldsOfModules(t *testing.T) {
	type guest struct {
		One  json.RawMessage            `json:"one"  caddy:"namespace=authinject.grants inline_key=type"`
		List []json.RawMessage          `json:"list" caddy:"namespace=authinject.grants inline_key=type"`
		Map  map[string]json.RawMessage `json:"map"  caddy:"namespace=authinject.grants inline_key=type"`
	}
	for raw, want := range map[string]string{
		`{"one": {"type": "static"}}`:               "",
		`{"one": [{"type": "static"}]}`:             "guest.one must be an object",
		`{"one": {"typ": "static"}}`:                "guest.one needs type",
		`{"list": [{"type": "static"}]}`:            "",
		`{"map": {"a": {"type": "static"}}}`:        "",
		`{"list": [{"type": "static"}], "lits": 1}`: "unknown field guest.lits (did you mean list?)",
	} {
		err := explain("guest", json.RawMessage(raw), reflect.TypeFor[guest]())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
	}
}
