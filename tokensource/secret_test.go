package tokensource_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

const canary = "s3cr3t-canary"

// printed returns v in every form in which a logger or a panic might print it.
func printed(t *testing.T, v any) []string {
	t.Helper()
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%#x", "%t", "%p", "%T",
		"%10.3s", "%!"} {
		out = append(out, fmt.Sprintf(verb, v))
	}
	if b, err := json.Marshal(v); err == nil {
		out = append(out, string(b))
	}
	if b, err := xml.Marshal(v); err == nil {
		out = append(out, string(b))
	}
	if m, ok := v.(encoding.TextMarshaler); ok {
		b, _ := m.MarshalText()
		out = append(out, string(b))
	}
	var text, object bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&object, nil)).Info("m", "v", v)
	return append(out, text.String(), object.String(), fmt.Sprint(v), fmt.Errorf("failed: %v", v).Error())
}

// No verb and no encoder shows a credential, in whatever value it is.
func TestSecretsNeverPrint(t *testing.T) {
	s := tokensource.NewSecret(canary)
	if s.Reveal() != canary || s.IsZero() || !s.Equal(tokensource.NewSecret(canary)) ||
		!tokensource.NewSecret("").IsZero() {
		t.Fatal("a secret does not hold its value")
	}
	if got := fmt.Sprintf("%v,%q,%x", s, &s, s); got != "REDACTED,REDACTED,REDACTED" {
		t.Errorf("printed as %s", got)
	}
	type hidden struct {
		secret  tokensource.Secret
		pointer *tokensource.Secret
		inner   struct{ list []tokensource.Secret }
	}
	h := hidden{secret: s, pointer: &s}
	h.inner.list = []tokensource.Secret{s}
	rec := tokensource.Record{AccessToken: s, RefreshToken: s}
	src := newSource(t, &endpoint{}, func(cfg *tokensource.Config) {
		cfg.ClientSecrets = []tokensource.Value{tokensource.Literal(canary)}
		cfg.Transport = &endpoint{script: always(reply{body: `{"access_token":"` + canary + `"}`})}
	})
	tok := mustToken(t, src)
	for what, v := range map[string]any{
		"Secret": s, "*Secret": &s, "list": []tokensource.Secret{s}, "map": map[string]tokensource.Secret{"k": s},
		"key": map[tokensource.Secret]int{s: 1},
		"any": any(&h), "unexported fields": h, "Record": rec, "*Record": &rec,
		"Token": reflect.ValueOf(tok).Elem().Interface(), "*Token": tok,
		"NewToken":      tokensource.NewToken(canary, 1, time.Now()),
		"TokenResponse": tokensource.TokenResponse{AccessToken: s, RefreshToken: s},
		"Request":       tokensource.Request{RefreshToken: s, Response: &tokensource.TokenResponse{AccessToken: s}},
		"Static":        tokensource.Static{Token: tokensource.Literal(canary)},
		"RefreshToken":  tokensource.RefreshToken{Initial: tokensource.Literal(canary)},
		"Config":        tokensource.Config{ClientSecrets: []tokensource.Value{tokensource.Literal(canary)}},
		"Param":         tokensource.Param{Name: "n", Value: tokensource.Literal(canary)}, "Status": src.Account("").Status(),
	} {
		for _, out := range printed(t, v) {
			rig.MustNotHold(t, what, out, canary)
		}
	}
	// These hold locks and are never copied, so they are not passed to JSON or slog.
	for _, v := range []any{src, src.Account("")} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			rig.MustNotHold(t, fmt.Sprintf("%T", v), fmt.Sprintf(verb, v), canary)
		}
	}
}

// A request to be sent prints without its refresh token.
func TestRequestOfARefreshTokenNeverPrints(t *testing.T) {
	req, err := tokensource.RefreshToken{Initial: tokensource.Literal(canary)}.Next(t.Context(), &tokensource.Record{})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range printed(t, req) {
		rig.MustNotHold(t, "Request", out, canary)
	}
}
