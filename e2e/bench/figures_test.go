package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// figures is what the benchmarks measured. docs/performance.md is written from it.
type figures struct {
	Date    string   `json:"date"`
	Cores   int      `json:"cores"`
	System  string   `json:"system"`
	Go      string   `json:"go"`
	Caddy   string   `json:"caddy"`
	Others  []string `json:"others"`  // other proxies that were measured, with their versions
	Missing []string `json:"missing"` // other proxies that were not installed

	Proxies     []comparison `json:"proxies"`
	Shares      []share      `json:"shares"`
	HeaderUp    share        `json:"header_up"`
	Allocations []allocation `json:"allocations"`
	Refresh     *latency     `json:"refresh"`
	Hang        *latency     `json:"hang"`
	Cold        *cold        `json:"cold"`
	Live        *live        `json:"live"`
	Lookups     []lookup     `json:"lookups"`
	Memory      *memory      `json:"memory"`
	Start       *start       `json:"start"`
}

// spread is the median of ratios, with the lowest and the highest one.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// comparison is one kind of proxy beside the hard-coded header, over the same upstream.
type comparison struct {
	Protocol  string  `json:"protocol"`
	Size      int     `json:"size"`
	Kind      string  `json:"kind"`
	CPU       spread  `json:"cpu"`        // CPU time for each request, over the hard-coded header's
	Rate      spread  `json:"rate"`       // requests a second, over the hard-coded header's
	Micros    float64 `json:"micros"`     // CPU time for each request
	PerSecond float64 `json:"per_second"` // requests
}

// share is a part of CPU profiles, in percent of their samples: of all samples, and in the profiles
// with the smallest and the largest part.
type share struct {
	Kind    string `json:"kind"`
	Percent spread `json:"percent"`
	Samples int    `json:"samples"`
}

// more returns by how much a share exceeds what header_up costs.
func (f *figures) more(s share) float64 { return s.Percent.Median - f.HeaderUp.Percent.Median }

// uncertainty is the standard error of more, in percentage points.
func (f *figures) uncertainty(s share) float64 {
	return math.Hypot(s.uncertainty(), f.HeaderUp.uncertainty())
}

// uncertainty is the standard error of a share of so many samples, in percentage points.
func (s share) uncertainty() float64 {
	p := s.Percent.Median / 100
	return 100 * math.Sqrt(p*(1-p)/float64(s.Samples))
}

// allocation is what each request allocates: by our functions, and in all more than one through
// reverse_proxy without a token.
type allocation struct {
	Kind  string  `json:"kind"`
	Ours  float64 `json:"ours"`
	More  float64 `json:"more"`
	Bytes float64 `json:"bytes"`
	Noise float64 `json:"noise"` // reverse_proxy over itself, in allocations
}

// latency holds percentiles of response times, disturbed over undisturbed. The noise is undisturbed
// over undisturbed.
type latency struct {
	Requests    int          `json:"requests"`
	Percentiles []percentile `json:"percentiles"`
}

type percentile struct {
	Name    string  `json:"name"`
	Ratio   spread  `json:"ratio"`
	Noise   spread  `json:"noise"`
	Without float64 `json:"without_micros"`
	With    float64 `json:"with_micros"`
}

type cold struct {
	Requests      int `json:"requests"`
	TokenRequests int `json:"token_requests"`
}

// live is the cost of Source.Token with a live token.
type live struct {
	One         float64 `json:"one_ns"`
	Sixteen     float64 `json:"sixteen_ns"` // CPU time for each call
	Allocations float64 `json:"allocations"`
}

// lookup is the cost of Account(name).Token among some accounts.
type lookup struct {
	Accounts int     `json:"accounts"`
	Nanos    float64 `json:"ns"`
	Ratio    spread  `json:"ratio"` // over one account
}

// memory is what a loaded account takes.
type memory struct {
	Accounts   int     `json:"accounts"`
	Bytes      float64 `json:"bytes"`
	Goroutines float64 `json:"goroutines"`
	Timers     float64 `json:"timers"`
}

// start is how long it takes to start with stored records.
type start struct {
	Records int     `json:"records"`
	Source  float64 `json:"source_ms"`
	Lists   int     `json:"lists"`
	Caddy   float64 `json:"caddy_seconds"` // until it serves
	Without float64 `json:"caddy_without_seconds"`
}

// measured is what this process has measured.
var measured figures

// spreadOf returns the spread of ratios.
func spreadOf(ratios []float64) spread {
	return spread{median(ratios), slices.Min(ratios), slices.Max(ratios)}.round()
}

func (s spread) round() spread { return spread{round(s.Median), round(s.Low), round(s.High)} }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// round rounds to four digits, so that the figures hold no digits that mean nothing.
func round(x float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	return rounded
}

// The settings in which proxies are compared.
var (
	protocols = []string{"http1", "http2"}
	// sizes are the sizes of the answers. The last element of a request's path is the size of its
	// answer.
	sizes = []int{15, 64 << 10, 10 << 20}
	// kinds are in every comparison, the hard-coded header as its own noise.
	kinds = []string{kindHardCoded, kindPlain, kindHeader, kindQuery, kindAccount}
	// injected are the kinds that are this project's.
	injected = []string{kindHeader, kindQuery, kindAccount}
	// accountNumbers are the numbers of accounts among which one is looked up.
	accountNumbers = []int{1, 100, 10_000, 100_000}
)

// The ways in which a request gets its token. Each one is a path below its upstream's.
const (
	kindPlain     = "plain"      // reverse_proxy, no token
	kindHardCoded = "hard-coded" // reverse_proxy with header_up
	kindHeader    = "header"     // authinject, in the header
	kindQuery     = "query"      // authinject, in the query
	kindAccount   = "account"    // authinject, an account for each user
	kindNginx     = "nginx"      // with a hard-coded header
	kindHAProxy   = "HAProxy"    // with a hard-coded header
)

// check reports what is missing in f.
func (f *figures) check() error {
	var missing []error
	need := func(have bool, what string, args ...any) {
		if !have {
			missing = append(missing, fmt.Errorf("missing: "+what, args...))
		}
	}
	need(f.Date != "" && f.Cores > 0 && f.System != "" && f.Go != "" && f.Caddy != "", "the machine")
	for _, protocol := range protocols {
		for _, size := range sizes {
			for _, kind := range kinds {
				c := f.comparison(protocol, size, kind)
				need(c != nil && c.CPU.Median > 0 && c.Rate.Median > 0 && c.Micros > 0 && c.PerSecond > 0, "%s, %d bytes, %s",
					protocol, size, kind)
			}
		}
	}
	for _, other := range []string{kindNginx, kindHAProxy} {
		need(slices.Contains(f.Missing, other) || f.comparison(protocols[0], sizes[0], other) != nil,
			"%s, or that it is not installed", other)
	}
	for _, kind := range injected {
		need(slices.ContainsFunc(f.Shares, func(s share) bool { return s.Kind == kind && s.Samples > 0 }),
			"the share of %s", kind)
		need(slices.ContainsFunc(f.Allocations, func(a allocation) bool { return a.Kind == kind }),
			"the allocations of %s", kind)
	}
	need(f.HeaderUp.Samples > 0, "the share of header_up")
	need(f.Refresh != nil && len(f.Refresh.Percentiles) == len(percentiles), "latency during a refresh")
	need(f.Hang != nil && len(f.Hang.Percentiles) == len(percentiles), "latency while another provider hangs")
	need(f.Cold != nil && f.Cold.Requests > 0, "requests without a token")
	need(f.Live != nil && f.Live.One > 0 && f.Live.Sixteen > 0, "a live token")
	for _, n := range accountNumbers {
		need(slices.ContainsFunc(f.Lookups, func(l lookup) bool { return l.Accounts == n && l.Nanos > 0 }),
			"a look-up among %d accounts", n)
	}
	need(f.Memory != nil && f.Memory.Bytes > 0, "memory for each account")
	need(f.Start != nil && f.Start.Caddy > 0, "the start with stored records")
	return errors.Join(missing...)
}

// percentiles are the response times that are reported.
var percentiles = []struct {
	name string
	of   float64
}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}}

// comparison returns the comparison of a kind, or nil.
func (f *figures) comparison(protocol string, size int, kind string) *comparison {
	for i, c := range f.Proxies {
		if c.Protocol == protocol && c.Size == size && c.Kind == kind {
			return &f.Proxies[i]
		}
	}
	return nil
}

var figuresFile = filepath.Join("testdata", "figures.json")

func readFigures(t testing.TB) *figures {
	t.Helper()
	text, err := os.ReadFile(figuresFile)
	if err != nil {
		t.Fatal(err)
	}
	f := new(figures)
	if err := json.Unmarshal(text, f); err != nil {
		t.Fatal(err)
	}
	return f
}

func writeFigures(f *figures) error {
	text, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(figuresFile), 0o755); err != nil {
		return err
	}
	return os.WriteFile(figuresFile, append(text, '\n'), 0o644)
}
