package bench

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"
)

var update = flag.Bool("update", false, "write docs/performance.md: from what was measured, or with TestPage from "+
	"the figures of the last time")

// TestMain writes the page after the benchmarks have run.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if *update && code == 0 && flag.Lookup("test.bench").Value.String() != "" {
		if err := writeMeasured(); err != nil {
			fmt.Fprintln(os.Stderr, "docs/performance.md was not written:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func writeMeasured() error {
	caddy, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2").Output()
	if err != nil {
		return fmt.Errorf("the version of Caddy: %w", err)
	}
	measured.Date, measured.Cores = time.Now().UTC().Format(time.DateOnly), runtime.NumCPU()
	measured.System, measured.Go = runtime.GOOS+"/"+runtime.GOARCH, runtime.Version()
	measured.Caddy = strings.TrimSpace(string(caddy))
	if err := measured.check(); err != nil {
		return err
	}
	if err := writeFigures(&measured); err != nil {
		return err
	}
	return writePage(&measured)
}

var (
	pageFile = filepath.Join("..", "..", "docs", "performance.md")
	plotFile = filepath.Join("..", "..", "docs", "images", "performance.svg")
)

func writePage(f *figures) error {
	page, err := f.page()
	if err != nil {
		return err
	}
	for file, text := range map[string]string{pageFile: page, plotFile: f.plot()} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// The page and the plot are what the generator writes from the figures, and no figure is missing.
func TestPage(t *testing.T) {
	f := readFigures(t)
	if *update {
		if err := writePage(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.check(); err != nil {
		t.Error(err)
	}
	page, err := f.page()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{pageFile: page, plotFile: f.plot()} {
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the generator writes; run in e2e: go test ./bench -run TestPage -update",
				filepath.Base(file))
		}
	}
}

// Figures of which one is missing give no page.
func TestFiguresMissing(t *testing.T) {
	for name, remove := range map[string]func(f *figures){
		"http2, 15 bytes, query":   func(f *figures) { f.comparison("http2", 15, kindQuery).Micros = 0 },
		"nginx, or that it is not": func(f *figures) { f.comparison("http1", 15, kindNginx).Kind = "other" },
		"the share of account": func(f *figures) {
			f.Shares = slices.DeleteFunc(f.Shares, func(s share) bool { return s.Kind == kindAccount })
		},
		"the share of header_up":          func(f *figures) { f.HeaderUp = share{} },
		"the allocations of header":       func(f *figures) { f.Allocations = nil },
		"latency during a refresh":        func(f *figures) { f.Refresh.Percentiles = nil },
		"latency while another":           func(f *figures) { f.Hang = nil },
		"requests without a token":        func(f *figures) { f.Cold = nil },
		"a live token":                    func(f *figures) { f.Live = nil },
		"a look-up among 100000 accounts": func(f *figures) { f.Lookups = f.Lookups[:3] },
		"memory for each account":         func(f *figures) { f.Memory = nil },
		"the start with stored records":   func(f *figures) { f.Start = nil },
		"the machine":                     func(f *figures) { f.Cores = 0 },
	} {
		f := readFigures(t)
		remove(f)
		if err := f.check(); err == nil || !strings.Contains(err.Error(), "missing: "+name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// Medians and percentiles of a few numbers.
func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{3, 1, 2, 1.23456}), (spread{1.617, 1, 3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := spreadOf([]float64{5}); got != (spread{5, 5, 5}) {
		t.Errorf("got %v", got)
	}
}

// A row is a line of a table with a measure and its aim.
type row struct{ What, Measured, Aim string }

// rows are the aims, in the order in which the page has them.
func (f *figures) rows() (rows []row) {
	add := func(what, aim, measured string, args ...any) {
		rows = append(rows, row{what, fmt.Sprintf(measured, args...), aim})
	}
	aims := map[string]string{kindHeader: "at most 1.5 %", kindQuery: "at most 2.5 %", kindAccount: "at most 4 %"}
	for _, kind := range injected {
		for _, s := range f.Shares {
			if s.Kind == kind {
				add("CPU time under load, more than `header_up` takes: "+strings.TrimPrefix(words[kind], "authinject, "),
					aims[kind], "%s %% of all (%s less %s)",
					f.More(s), number(s.Percent.Median), number(f.HeaderUp.Percent.Median))
			}
		}
	}
	for _, a := range f.Allocations {
		aim := ""
		if a.Kind == kindHeader {
			aim = "at most 3"
		}
		add("allocations for each request, by authinject: "+strings.TrimPrefix(words[a.Kind], "authinject, "), aim, "%s",
			number(a.Ours))
	}
	add("a live token from `Source.Token`: 1 goroutine, 16 goroutines", "less than 25 ns, 0 allocations",
		"%s ns, %s ns of CPU time; %s allocations",
		number(f.Live.One), number(f.Live.Sixteen), number(f.Live.Allocations))
	slowest := f.Refresh.Percentiles[len(f.Refresh.Percentiles)-1]
	add("p99.9 of response times during a refresh that takes 2 s, over p99.9 without", "at most 1.05",
		"%s; noise %s to %s",
		number(slowest.Ratio.Median), number(slowest.Noise.Low), number(slowest.Noise.High))
	add(number(float64(f.Cold.Requests))+" requests at once when there is no token", "1 token request",
		"%s token request%s", number(float64(f.Cold.TokenRequests)), plural(f.Cold.TokenRequests))
	add("memory for each of "+number(float64(f.Memory.Accounts))+" accounts, with its token",
		"at most 800 bytes, no goroutine, no timer", "%s bytes, %s goroutines, %s timers",
		number(f.Memory.Bytes), number(f.Memory.Goroutines), number(f.Memory.Timers))
	most := f.Lookups[len(f.Lookups)-1]
	add("`Account(name).Token` among "+number(float64(most.Accounts))+" accounts, over one account", "at most 5 times",
		"%s times", number(most.Ratio.Median))
	add("start with "+number(float64(f.Start.Records))+" stored records", "less than 1 s, no listing",
		"%s s until Caddy serves, %s s with one record; %s listings",
		number(f.Start.Caddy), number(f.Start.Without), number(float64(f.Start.Lists)))
	hang := f.Hang.Percentiles[1]
	add("p99 of one source's accounts while the provider of another hangs, over p99 without", "unchanged",
		"%s; noise %s to %s", number(hang.Ratio.Median), number(hang.Noise.Low), number(hang.Noise.High))
	return rows
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// words are the kinds in the words of the page.
var words = map[string]string{
	kindPlain: "`reverse_proxy`, no token", kindHardCoded: "hard-coded header", kindHeader: "authinject, header",
	kindQuery: "authinject, query", kindAccount: "authinject, `account`", kindNginx: "nginx, hard-coded header",
	kindHAProxy: "HAProxy, hard-coded header",
}

var protocolWords = map[string]string{"http1": "HTTP/1.1", "http2": "HTTP/2 over TLS"}

var sizeWords = map[int]string{15: "15 bytes", 64 << 10: "64 KiB", 10 << 20: "10 MiB"}

// number writes x with as many digits as mean something, and thousands apart.
func number(x float64) string {
	text := strconv.FormatFloat(x, 'f', 0, 64)
	switch abs := max(x, -x); {
	case x == float64(int64(x)):
	case abs < 0.1:
		text = strconv.FormatFloat(x, 'f', 3, 64)
	case abs < 10:
		text = strconv.FormatFloat(x, 'f', 2, 64)
	case abs < 100:
		text = strconv.FormatFloat(x, 'f', 1, 64)
	}
	whole, fraction, _ := strings.Cut(text, ".")
	for at := len(whole) - 3; at > 0 && whole[at-1] != '-'; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	if fraction != "" {
		return whole + "." + fraction
	}
	return whole
}

//go:embed page.md.tmpl
var pageText string

// page returns docs/performance.md.
func (f *figures) page() (string, error) {
	page, err := template.New("page").Funcs(template.FuncMap{
		"number": number, "words": func(kind string) string { return words[kind] },
		"times":     func(s spread) string { return ratio(s.Median) + " (" + ratio(s.Low) + " to " + ratio(s.High) + ")" },
		"join":      func(list []string) string { return strings.Join(list, ", ") },
		"float":     func(n int) float64 { return float64(n) },
		"protocols": func() []string { return protocols },
		"sizes":     func() []int { return sizes },
		"protocol":  func(name string) string { return protocolWords[name] },
		"size":      func(n int) string { return sizeWords[n] },
	}).Parse(pageText)
	if err != nil {
		return "", err
	}
	if f.Refresh == nil || f.Hang == nil || f.Cold == nil || f.Live == nil || f.Memory == nil || f.Start == nil ||
		len(f.Lookups) == 0 ||
		len(f.Refresh.Percentiles) != len(percentiles) || len(f.Hang.Percentiles) != len(percentiles) {
		return "", errors.New("figures are missing")
	}
	var out strings.Builder
	err = page.Execute(&out, map[string]any{"F": f, "Rows": f.rows()})
	return out.String(), err
}

func ratio(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

// In returns the comparisons in one setting.
func (f *figures) In(protocol string, size int) (in []comparison) {
	for _, c := range f.Proxies {
		if c.Protocol == protocol && c.Size == size {
			in = append(in, c)
		}
	}
	return in
}

// More returns by how much a share exceeds what header_up costs, with its standard error.
func (f *figures) More(s share) string { return number(f.more(s)) + " ± " + number(f.uncertainty(s)) }

// Noise returns the lowest and the highest ratio of the hard-coded header to itself.
func (f *figures) Noise() spread {
	var all []float64
	for _, c := range f.Proxies {
		if c.Kind == kindHardCoded {
			all = append(all, c.CPU.Low, c.CPU.High)
		}
	}
	return spreadOf(all)
}

// The plot has a panel for each setting, with a line for each kind: from the lowest to the highest
// ratio, with a dot at the median. Its scale ends at plotMost.
const (
	plotMost   = 1.6
	plotWidth  = 860
	panelWidth = 410
	labelWidth = 150
	lineHeight = 20
)

// labels are the kinds in the words of the plot.
var labels = map[string]string{
	kindHardCoded: "itself again", kindPlain: "no token", kindHeader: "authinject, header", kindQuery: "authinject, query",
	kindAccount: "authinject, account", kindNginx: "nginx", kindHAProxy: "HAProxy",
}

// plot returns docs/images/performance.svg.
func (f *figures) plot() string {
	var out strings.Builder
	lines := len(kinds) + 2
	panel := lineHeight*lines + 70
	height := 40 + panel*len(sizes)
	text := func(class string, x, y float64, words string) {
		fmt.Fprintf(&out, "<text class=%q x=\"%s\" y=\"%s\">%s</text>\n", class, coordinate(x), coordinate(y),
			html.EscapeString(words))
	}
	line := func(class string, x1, y1, x2, y2 float64) {
		fmt.Fprintf(&out, "<line class=%q x1=\"%s\" y1=\"%s\" x2=\"%s\" y2=\"%s\"/>\n", class, coordinate(x1), coordinate(y1),
			coordinate(x2), coordinate(y2))
	}
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="title desc">
<title id="title">CPU time of proxies for each request, over a hard-coded header</title>
<desc id="desc">For HTTP/1.1 and HTTP/2 and for three sizes of answers: a line from the lowest to the highest ratio, with a dot at the median. The same numbers are in the tables of docs/performance.md.</desc>
<style>
text { font: 13px sans-serif; fill: #24292f }
.head { font-weight: bold }
.scale { font-size: 11px; text-anchor: middle }
.grid { stroke: #d0d7de }
.one { stroke: #57606a }
.ours { stroke: #0550ae; fill: #0550ae }
.theirs { stroke: #6e7781; fill: #6e7781 }
.ours, .theirs { stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.grid { stroke: #3d444d }
.one { stroke: #9198a1 }
.ours { stroke: #58a6ff; fill: #58a6ff }
.theirs { stroke: #9198a1; fill: #9198a1 }
}
</style>
`, plotWidth, height)
	text("head", 10, 22, "CPU time for each request, over a hard-coded header (1.0). Less is better.")
	for column, protocol := range protocols {
		for rank, size := range sizes {
			left, top := float64(10+column*(panelWidth+20)), float64(40+rank*panel)
			at := func(ratio float64) float64 {
				return left + labelWidth + (panelWidth-labelWidth-10)*min(ratio, plotMost)/plotMost
			}
			in := f.In(protocol, size)
			bottom := top + 30 + float64(lineHeight*len(in))
			text("head", left, top+18, protocolWords[protocol]+", answers of "+sizeWords[size])
			for tick := 0; float64(tick)*0.5 <= plotMost; tick++ {
				x, class := at(float64(tick)*0.5), "grid"
				if tick == 2 {
					class = "one"
				}
				line(class, x, top+28, x, bottom)
				text("scale", x, bottom+14, strconv.FormatFloat(float64(tick)*0.5, 'f', 1, 64))
			}
			for i, c := range in {
				y, class := top+40+float64(lineHeight*i), "theirs"
				if slices.Contains(injected, c.Kind) {
					class = "ours"
				}
				text("label", left, y+4, labels[c.Kind])
				line(class, at(c.CPU.Low), y, at(c.CPU.High), y)
				fmt.Fprintf(&out, "<circle class=%q cx=\"%s\" cy=\"%s\" r=\"4\"/>\n", class, coordinate(at(c.CPU.Median)),
					coordinate(y))
			}
		}
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func coordinate(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }
