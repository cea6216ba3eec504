package caddy

import (
	"fmt"
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
	l := refusals{logger: zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg", LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder}), zapcore.AddSync(&out), zap.DebugLevel))}
	for range 3 {
		l.note("orders", authinject.Result{Outcome: authinject.OutcomeInjected})
		l.note("orders", authinject.Result{Outcome: authinject.OutcomeNoToken, Detail: "waiting"})
		for i := range 200 {
			l.note("orders", authinject.Result{Outcome: authinject.OutcomeOrigin, Detail: fmt.Sprintf("the Host \"h%d\"", i)})
		}
		l.note("orders", authinject.Result{Outcome: authinject.OutcomeDestination, Class: "operator", Detail: "not among the destinations", Status: 502})
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != maxRefusals+1 {
		t.Errorf("%d lines", len(lines))
	}
	want := `{"level":"error","msg":"a request was refused","source":"orders","class":"operator","outcome":"destination","error":"not among the destinations","status":502}`
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("got %s", got)
	}
	now := time.Now()
	if l.isNews(authinject.OutcomeDestination, "orders not among the destinations", now.Add(refusalEvery/2)) || !l.isNews(authinject.OutcomeDestination, "orders not among the destinations", now.Add(refusalEvery+time.Second)) {
		t.Error("it is not logged once a minute")
	}
}
