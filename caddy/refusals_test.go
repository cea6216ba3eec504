package caddy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/authinject/caddy-authinject/authinject"
)

// Refusals are logged with their reason, each once a minute, and a flood of one kind hides no
// other.
func TestRefusalsAreLogged(t *testing.T) {
	var out strings.Builder
	l := newRefusals(zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg",
		LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder}), zapcore.AddSync(&out), zap.DebugLevel)),
		slices.Values([]string{"orders", "other"}))
	for range 3 {
		l.note("orders", authinject.Result{Outcome: authinject.OutcomeInjected})
		l.note("orders", authinject.Result{Outcome: authinject.OutcomeNoToken, Detail: "waiting"})
		for i := range 200 {
			l.note("orders", authinject.Result{Outcome: authinject.OutcomeOrigin, Detail: fmt.Sprintf("the Host \"h%d\"", i)})
		}
		l.note("orders", authinject.Result{Outcome: authinject.OutcomeNoToken, Class: "login", Problem: "no_account",
			Detail: "{a} is empty", Remedy: "set {a}", Status: 503})
		l.note("orders", authinject.Result{Outcome: authinject.OutcomeDestination, Class: "operator", Problem: "destination",
			Detail: "not among the destinations", Remedy: "correct it", Status: 502})
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != maxNews+2 {
		t.Errorf("%d lines", len(lines))
	}
	if got, want := lines[len(lines)-2],
		`{"level":"warn","msg":"a request was refused","source":"orders","class":"login","outcome":"no_token",`+
			`"error":"{a} is empty","status":503,"problem":"no_account","remedy":"set {a}"}`; got != want {
		t.Errorf("got %s", got)
	}
	want := `{"level":"error","msg":"a request was refused","source":"orders","class":"operator","outcome":"destination","error":"not among the destinations","status":502,"problem":"destination","remedy":"correct it"}`
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("got %s", got)
	}
	for source, want := range map[string]bool{"orders": true, "other": false} {
		refused, ok := l.lastOf(source, time.Now())
		if ok != want || ok && refused.text != "not among the destinations" {
			t.Errorf("%s: %v %+v", source, ok, refused)
		}
	}
	if _, ok := l.lastOf("orders", time.Now().Add(showRefusal+time.Second)); ok {
		t.Error("a refused destination is shown for ever")
	}
}

// A thing is news once a minute, and again after it was forgotten.
func TestRecently(t *testing.T) {
	var r recently
	now := time.Now()
	steps := []struct {
		after time.Duration
		want  bool
	}{{0, true}, {newsEvery / 2, false}, {newsEvery, true}, {newsEvery + time.Second, false}}
	for _, s := range steps {
		if got := r.isNews("storage", "orders", now.Add(s.after)); got != s.want {
			t.Errorf("after %v: %v", s.after, got)
		}
	}
	if !r.forget("storage", "orders") || r.forget("storage", "orders") ||
		!r.isNews("storage", "orders", now.Add(newsEvery)) {
		t.Error("what was forgotten is no news")
	}
}

// A request that went out with a token costs no allocation here.
func TestWatcherAllocates(t *testing.T) {
	app := &App{refusals: newRefusals(zap.NewNop(), slices.Values([]string{"orders"}))}
	watch := app.watcher("orders")
	watch(authinject.Result{Outcome: authinject.OutcomeDestination})
	if got := testing.AllocsPerRun(100,
		func() { watch(authinject.Result{Outcome: authinject.OutcomeInjected}) }); got != 0 {
		t.Errorf("%.0f allocations", got)
	}
}
