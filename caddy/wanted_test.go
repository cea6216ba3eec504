package caddy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/authinject/caddy-authinject/tokensource"
)

// An account that was never connected is logged once a minute, with what to do. However many names
// requests make up, few are logged and remembered, and other failures are not.
func TestWantedAccounts(t *testing.T) {
	var out strings.Builder
	w := wanted{logger: zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg", LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder}), zapcore.AddSync(&out), zap.DebugLevel))}
	missing := func(account string) error {
		return &tokensource.Error{Source: "a", Account: account, Class: tokensource.ClassLogin, Reason: "the account is not connected yet"}
	}
	w.note("a", "x", nil, "")
	w.note("a", "x", errors.New("no such account"), "")
	w.note("a", "x", &tokensource.Error{Class: tokensource.ClassWait, Reason: "the storage cannot be read"}, "")
	if names, _ := w.of("a", time.Now()); names != nil || out.String() != "" {
		t.Fatalf("remembered %q, logged %s", names, out.String())
	}
	began := time.Now()
	for range 3 {
		w.note("a", "leela", missing("leela"), "")
	}
	want := `{"level":"warn","msg":"a request needs an account that is not connected","source":"a","account":"leela","class":"login","problem":"not_connected",` +
		`"remedy":"connect the account on the page of authinject_connect, or run: caddy authinject login a --account leela"}` + "\n"
	if out.String() != want {
		t.Errorf("got  %s\nwant %s", out.String(), want)
	}
	if names, at := w.of("a", time.Now()); len(names) != 1 || at["leela"].Before(began) || at["leela"].After(time.Now()) {
		t.Errorf("remembered %v", at)
	}
	if names, _ := w.of("b", time.Now()); names != nil {
		t.Errorf("remembered for another source: %q", names)
	}
	for i := range 1000 {
		name := fmt.Sprint(i)
		w.note("a", name, missing(name), "https://proxy.example.com/connect")
	}
	if names, _ := w.of("a", time.Now()); len(names) != maxWanted || strings.Count(out.String(), "\n") > maxNews || !strings.Contains(out.String(), `"login_url":"https://proxy.example.com/connect"`) {
		t.Errorf("%d names, log %s", len(names), out.String())
	}
	if names, _ := w.of("a", time.Now().Add(showWanted)); names != nil {
		t.Errorf("remembered for ever: %q", names)
	}
}
