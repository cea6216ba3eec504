package caddy

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/suggest"
)

// The modules in this file decode their own JSON, so that an error names the path of a mistake,
// what is allowed there and what was probably meant. Package encoding/json decides what is a
// mistake in a field, as strictly as for Caddy's own modules. This file explains it, and checks the
// names of modules.

// UnmarshalJSON implements [json.Unmarshaler].
func (a *App) UnmarshalJSON(raw []byte) error {
	type fields App
	return decode("apps.authinject", raw, (*fields)(a))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Transport) UnmarshalJSON(raw []byte) error {
	type fields Transport
	return decode("transport", raw, (*fields)(t))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (h *ConnectHandler) UnmarshalJSON(raw []byte) error {
	type fields ConnectHandler
	return decode("authinject_connect", raw, (*fields)(h))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (h *ReadyHandler) UnmarshalJSON(raw []byte) error {
	type fields ReadyHandler
	return decode("authinject_ready", raw, (*fields)(h))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (h *AccountHandler) UnmarshalJSON(raw []byte) error {
	type fields AccountHandler
	return decode("authinject_account", raw, (*fields)(h))
}

// decode decodes raw into a pointer to a struct. Errors begin with path.
func decode(path string, raw []byte, into any) error {
	err := caddy.StrictUnmarshalJSON(raw, into)
	if mistake := explain(path, raw, reflect.TypeOf(into).Elem()); mistake != nil {
		return mistake
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// explain returns the first mistake in raw if it is decoded as typ, or nil if it finds no mistake.
// It checks the modules inside raw as well.
func explain(path string, raw json.RawMessage, typ reflect.Type) error {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	value := reflect.New(typ)
	err := caddy.StrictUnmarshalJSON(raw, value.Interface())
	if decodesItself(value.Interface()) || string(raw) == "null" {
		return wrongType(path, raw, typ, err)
	}
	var list []json.RawMessage
	var members map[string]json.RawMessage
	//exhaustive:ignore
	switch typ.Kind() {
	case reflect.Slice:
		if json.Unmarshal(raw, &list) != nil {
			return wrongType(path, raw, typ, err)
		}
		for i, item := range list {
			if mistake := explain(fmt.Sprintf("%s[%d]", path, i), item, typ.Elem()); mistake != nil {
				return mistake
			}
		}
	case reflect.Map, reflect.Struct:
		if json.Unmarshal(raw, &members) != nil {
			return wrongType(path, raw, typ, err)
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if mistake := explainMember(path, name, members[name], typ, err != nil); mistake != nil {
				return mistake
			}
		}
	default:
		return wrongType(path, raw, typ, err)
	}
	return nil
}

// decodesItself reports whether a value has a decoder of its own.
func decodesItself(value any) bool {
	switch value.(type) {
	case json.Unmarshaler, encoding.TextUnmarshaler:
		return true
	}
	return false
}

// explainMember checks one member of an object that is decoded as typ, a map or struct. refused
// means that encoding/json refuses the object. If it does not, an unknown member is a field without
// a tag.
func explainMember(path, name string, raw json.RawMessage, typ reflect.Type, refused bool) error {
	if typ.Kind() == reflect.Map {
		return explain(path+"."+name, raw, typ.Elem())
	}
	var known []string
	for _, field := range reflect.VisibleFields(typ) {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || key == "" || key == "-" {
			continue
		}
		if !strings.EqualFold(key, name) { // as encoding/json compares
			known = append(known, key)
			continue
		}
		path += "." + key
		if module := field.Tag.Get("caddy"); module != "" {
			return explainModule(path, raw, field.Type, module)
		}
		return explain(path, raw, field.Type)
	}
	if !refused {
		return nil
	}
	where := path + "." + name
	if !optionName.MatchString(name) {
		where = quoteOption(name) + " in " + path
	}
	hint := suggest.DidYouMean(name, known)
	if option, ok := sourceOptions.find(name); ok && option.grant != "" && slices.Contains(known, "grant") {
		hint = fmt.Sprintf("; it belongs in %s.grant, if the type there is %s", path, strings.Join(option.grants(), " or "))
	}
	return fmt.Errorf("unknown field %s%s; allowed are %s", where, hint, strings.Join(known, ", "))
}

// explainModule checks the JSON of a module in a field of that type. tag is the struct tag that
// names the allowed modules. A field of another type than [json.RawMessage], such as a list of
// modules, is not checked: loading its modules reports their mistakes.
func explainModule(path string, raw json.RawMessage, typ reflect.Type, tag string) error {
	options, _ := caddy.ParseStructTag(tag) // if this fails, loading the module reports it
	var members map[string]json.RawMessage
	if options["inline_key"] == "" || typ != reflect.TypeFor[json.RawMessage]() || string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, &members) != nil {
		return fmt.Errorf("%s must be an object, in braces, whose %s is the name of a module", path, options["inline_key"])
	}
	var name string
	if json.Unmarshal(members[options["inline_key"]], &name) != nil || name == "" {
		return fmt.Errorf("%s needs %s: the name of a module; allowed are %s", path, options["inline_key"],
			strings.Join(moduleNames(options["namespace"]), ", "))
	}
	delete(members, options["inline_key"])
	info, err := caddy.GetModule(options["namespace"] + "." + name)
	if err != nil {
		if options["namespace"] == grantNamespace {
			return nil // newGrant reports it
		}
		return fmt.Errorf("%s.%s %s", path, options["inline_key"], notInBinary(options["namespace"], name))
	}
	rest, _ := json.Marshal(members) // they were decoded from JSON
	module := info.New()
	if caddy.StrictUnmarshalJSON(rest, &module) == nil || decodesItself(module) {
		return nil // a module that decodes itself explains its mistakes when it is loaded
	}
	return explain(path, rest, reflect.TypeOf(module))
}

// wrongType returns an error that names the JSON type that path must have, or nil if err is nil.
func wrongType(path string, raw json.RawMessage, typ reflect.Type, err error) error {
	if err == nil {
		return nil
	}
	want, got := jsonKind(typ), "a number"
	switch raw[0] {
	case '"':
		got = "a text"
	case '{':
		got = "an object"
	case '[':
		got = "a list"
	case 't', 'f':
		got = "true or false"
	}
	if typ == reflect.TypeFor[caddy.Duration]() || strings.HasPrefix(want, got) {
		return fmt.Errorf("%s must be %s", path, want)
	}
	return fmt.Errorf("%s must be %s, not %s", path, want, got)
}

// jsonKind says what is decoded as that type.
func jsonKind(typ reflect.Type) string {
	if typ == reflect.TypeFor[caddy.Duration]() {
		return `a duration such as "30s"`
	}
	//exhaustive:ignore
	switch typ.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.String {
			return "a list of texts, in square brackets"
		}
		return "a list, in square brackets"
	case reflect.Struct, reflect.Map:
		return "an object, in braces"
	default:
		return "a number"
	}
}

// Interface guards
var (
	_ json.Unmarshaler = (*App)(nil)
	_ json.Unmarshaler = (*Transport)(nil)
	_ json.Unmarshaler = (*ConnectHandler)(nil)
	_ json.Unmarshaler = (*ReadyHandler)(nil)
	_ json.Unmarshaler = (*AccountHandler)(nil)
)
