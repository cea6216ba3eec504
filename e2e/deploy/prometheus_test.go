package deploy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const prometheusDir = "examples/prometheus"

// The rules are valid, and pass their own tests.
func TestPrometheusRules(t *testing.T) {
	t.Parallel()
	promtool := harness.Tool(t, "promtool", "prometheus")
	dir := filepath.Join(harness.Root(t), prometheusDir)
	for _, args := range [][]string{
		{"check", "rules", "rules.yml"},
		{"check", "config", "prometheus.yml"},
		{"test", "rules", "rules_test.yml"},
	} {
		if out, code := run(t, dir, nil, promtool, args...); code != 0 {
			t.Errorf("promtool %v ended with code %d: %s", args, code, out)
		}
	}
	// Each alert has tests with series that raise it, and with series that do not.
	var rules struct {
		Groups []struct{ Rules []struct{ Alert string } }
	}
	var tests struct {
		Tests []struct {
			Cases []struct {
				Alert  string `json:"alertname"`
				Alerts []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, prometheusDir+"/rules.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(read(t, prometheusDir+"/rules_test.yml")), &tests); err != nil {
		t.Fatal(err)
	}
	raised, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, c := range test.Cases {
			if len(c.Alerts) > 0 {
				raised[c.Alert] = true
			} else {
				quiet[c.Alert] = true
			}
		}
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if !raised[rule.Alert] || !quiet[rule.Alert] {
				t.Errorf("%s is raised by a test: %t; is kept quiet by a test: %t", rule.Alert, raised[rule.Alert],
					quiet[rule.Alert])
			}
		}
	}
}

// A prometheus is a running Prometheus.
type prometheus struct {
	*process
	url string
}

// startPrometheus runs Prometheus with the example's configuration and rules. It scrapes this
// Caddy, and more often than the example does.
func startPrometheus(t *testing.T, admin string) *prometheus {
	t.Helper()
	dir, address := shortDir(t), rig.FreeAddr(t)
	write(t, filepath.Join(dir, "rules.yml"), read(t, prometheusDir+"/rules.yml"))
	write(t, filepath.Join(dir, "prometheus.yml"), adjust(t, read(t, prometheusDir+"/prometheus.yml"),
		"localhost:2019", admin, "scrape_interval: 15s", "scrape_interval: 1s", "evaluation_interval: 15s",
		"evaluation_interval: 1s"))
	p := &prometheus{url: "http://" + address}
	p.process = launch(t, dir, nil, harness.Tool(t, "prometheus", "prometheus"),
		"--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address)
	p.until(func() bool {
		status, _, err := get(p.url + "/-/ready")
		return err == nil && status == http.StatusOK
	}, "Prometheus to be ready")
	return p
}

// query returns the values of an expression by the source label.
func (p *prometheus) query(expr string) (map[string]string, error) {
	status, body, err := get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("status %d: %s", status, body)
	}
	values := map[string]string{}
	for _, sample := range answer.Data.Result {
		values[sample.Metric["source"]] = fmt.Sprint(sample.Value[1])
	}
	return values, nil
}

// firing reports whether an alert fires for a source.
func (p *prometheus) firing(alert, source string) bool {
	values, err := p.query(fmt.Sprintf(`ALERTS{alertname=%q, source=%q, alertstate="firing"}`, alert, source))
	return err == nil && len(values) == 1
}

// A dead credential raises an alert. The test has a client that the provider no longer knows and a
// login that the provider has ended, both while the token is live, and a source without a token. A
// healthy source raises no alert. Every query of the dashboard returns something.
func TestDeadCredentialRaisesAlert(t *testing.T) {
	t.Parallel()
	srv := provider(t, tokensourcetest.Config{Clients: []tokensourcetest.Client{
		{ID: "dead", Secrets: []string{"dead-secret"}}, {ID: "well", Secrets: []string{"well-secret"}},
	}})
	_, seed := srv.IssueTokens("crm", "ada")
	dir, proxy := shortDir(t), port(t)
	source := func(name, options string) string {
		return fmt.Sprintf("\t\tsource %[1]s {\n\t\t\ttoken_url %[2]s\n\t\t\tclient_id %[1]s\n\t\t\tclient_secret "+
			"{env.%[1]s}\n\t\t\t%[3]s\n\t\t}\n", name, srv.TokenURL(), options)
	}
	// Caddy's metrics need no option. authinject's metrics are in the same registry.
	caddyfile := "{\n\tauthinject {\n" +
		source("orders", "grant client_credentials") + source("dead", "grant client_credentials") + source("well",
		"grant client_credentials") +
		source("crm", "refresh_token {env.SEED}") + "\t}\n}\n" +
		"http://127.0.0.1:" + proxy + " {\n"
	for _, name := range []string{"orders", "dead", "well", "crm"} {
		caddyfile += fmt.Sprintf("\thandle_path /%s/* {\n\t\tauthinject %s %s\n\t}\n", name, name, srv.URL)
	}
	caddyfile += "}\n"
	s := serve(t, harness.Binary(t), dir, caddyfile,
		"orders=orders-secret", "dead=wrong", "well=well-secret", "crm=crm-secret", "SEED="+seed)
	for _, name := range []string{"orders", "well", "crm"} {
		wants(t, "http://127.0.0.1:"+proxy+"/"+name+"/api", http.StatusOK)
	}
	p := startPrometheus(t, s.admin)
	p.until(func() bool {
		values, err := p.query("authinject_token_live")
		return err == nil && values["orders"] == "1" && values["crm"] == "1" && values["well"] == "1" && values["dead"] == "0"
	}, "the first scrape")

	// Both sources get a request for a new token while they have a live one.
	srv.SetClientSecrets("orders", "another one")
	srv.SetFault(func(r *tokensourcetest.TokenRequest) tokensourcetest.Fault {
		if r.Params.Get("grant_type") == "refresh_token" {
			return tokensourcetest.OAuthError(http.StatusBadRequest, "invalid_grant")
		}
		return tokensourcetest.Fault{}
	})
	for _, name := range []string{"orders", "crm"} {
		if _, _, err := do(client, http.MethodPost, "http://"+s.admin+"/authinject/sources/"+name+"/refresh"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"orders", "crm", "dead"} {
		p.until(func() bool { return p.firing("AuthinjectCredentialRefused", name) },
			"AuthinjectCredentialRefused for %s", name)
	}
	p.until(func() bool { return p.firing("AuthinjectNoToken", "dead") }, "AuthinjectNoToken")
	if values, err := p.query(`ALERTS{source="well"}`); err != nil || len(values) > 0 {
		t.Errorf("a source that is well has alerts %v, %v", values, err)
	}
	if values, err := p.query("authinject_token_live"); err != nil || values["orders"] != "1" {
		t.Errorf("the alert came when the token had ended: %v, %v", values, err)
	}

	t.Run("dashboard", func(t *testing.T) { testDashboard(t, p, "http://127.0.0.1:"+proxy) })

	// The alert ends when the credential is right again.
	srv.SetClientSecrets("dead", "wrong")
	p.until(func() bool { return !p.firing("AuthinjectNoToken", "dead") }, "the end of AuthinjectNoToken")
}

// testDashboard runs all queries of the dashboard while requests of all kinds are sent.
func testDashboard(t *testing.T, p *prometheus, proxy string) {
	var board struct {
		Panels []struct {
			Title      string
			Type       string
			Datasource struct{ UID string }
			Targets    []struct{ Expr, LegendFormat string }
			GridPos    struct{ X, Y, W, H int }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, prometheusDir+"/dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	if len(board.Panels) < 5 {
		t.Fatalf("%d panels", len(board.Panels))
	}
	variables := []string{"$__rate_interval", "1m"}
	for _, v := range board.Templating.List {
		variables = append(variables, "$"+v.Name, ".*")
		if v.Definition == "" {
			continue
		}
		selector := regexp.MustCompile(`^label_values\((.*), [a-z]+\)$`).FindStringSubmatch(v.Definition)
		if selector == nil {
			t.Fatalf("the variable %s is %s", v.Name, v.Definition)
		}
		expr := strings.NewReplacer("$job", ".*", "$instance", ".*").Replace(selector[1])
		if values, err := p.query(expr); err != nil || len(values) == 0 {
			t.Errorf("the variable %s finds %v, %v", v.Name, values, err)
		}
	}
	// The panels need data: an ordinary request, one without a token, one of a web page, and one
	// that the API refuses.
	refused, err := http.NewRequest(http.MethodGet, proxy+"/well/api", nil)
	if err != nil {
		t.Fatal(err)
	}
	refused.Header.Set("Origin", "https://evil.example")
	ask := func() {
		for _, path := range []string{"/well/api", "/dead/api"} {
			if _, _, err := get(proxy + path); err != nil {
				t.Fatal(err)
			}
		}
		res, err := client.Do(refused)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	for _, panel := range board.Panels {
		if panel.Datasource.UID != "${datasource}" {
			t.Errorf("%s: the data source is %q", panel.Title, panel.Datasource.UID)
		}
		if panel.GridPos.X+panel.GridPos.W > 24 || panel.GridPos.W == 0 || panel.GridPos.H == 0 {
			t.Errorf("%s: the position is %+v", panel.Title, panel.GridPos)
		}
		for _, target := range panel.Targets {
			expr := strings.NewReplacer(variables...).Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: unknown variable in %s", panel.Title, expr)
			}
			if strings.Contains(expr, `outcome="refused"`) {
				if _, err := p.query(expr); err != nil {
					t.Errorf("%s: %v", panel.Title, err)
				}
				continue // this API refuses nothing
			}
			p.until(func() bool {
				ask()
				values, err := p.query(expr)
				if err != nil {
					t.Fatalf("%s: %v", panel.Title, err)
				}
				return len(values) > 0
			}, "%s to show something", panel.Title)
		}
	}
}

// The metrics, labels and words in the rules and in the dashboard exist.
func TestPrometheusNamesExist(t *testing.T) {
	code := read(t, "caddy/metrics.go")
	known := []string{"authinject_requests_total", "authinject_token_requests_total", "authinject_token_live",
		"authinject_token_expiry_timestamp_seconds",
		"authinject_problem", "authinject_token_refused", "authinject_token_unsaved", "authinject_scopes_missing"}
	for _, name := range known {
		if !strings.Contains(code, strings.TrimPrefix(name, "authinject_")) {
			t.Errorf("%s is not in caddy/metrics.go", name)
		}
	}
	words := map[string][]string{
		"outcome": {"injected", "replaced", "refused", "skipped", "no_token", "destination", "origin", "method", "subject",
			"preflight", "canceled", "upstream_error"},
		"result": {"obtained", "wait", "operator", "login", "subject"},
	}
	for _, word := range words["outcome"] {
		if !strings.Contains(read(t, "authinject/source.go"), `= "`+word+`"`) {
			t.Errorf("%s is no outcome", word)
		}
	}
	for _, file := range []string{"rules.yml", "dashboard.json"} {
		text := read(t, prometheusDir+"/"+file)
		for _, name := range regexp.MustCompile(`authinject_[a-z_]+`).FindAllString(text, -1) {
			if !slices.Contains(known, name) {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		for _, match := range regexp.MustCompile(`(outcome|result)(?:=~|!=|=)\\?"([a-z_|]+)\\?"`).FindAllStringSubmatch(text,
			-1) {
			for word := range strings.SplitSeq(match[2], "|") {
				if !slices.Contains(words[match[1]], word) {
					t.Errorf("%s: %s is never %q", file, match[1], word)
				}
			}
		}
	}
}
