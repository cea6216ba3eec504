//go:build linux

package bench

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	shareRounds  = flag.Int("share.rounds", 10, "BenchmarkShare: CPU profiles of each kind")
	shareSeconds = flag.Int("share.seconds", 8, "BenchmarkShare: length of a CPU profile")
	shareKinds   = flag.String("share.kinds", "hard-coded,header,query,account", "BenchmarkShare: what is measured")
	shareTop     = flag.Int("share.top", 25, "BenchmarkShare: how many functions are printed for each kind")
)

// BenchmarkShare takes CPU profiles of Caddy under load, and reports which part of the samples is
// this project's, and which part is what header_up costs. Unlike a comparison of two runs, the part
// of one profile hardly depends on what else the machine does.
func BenchmarkShare(b *testing.B) {
	c := startCaddy(b)
	kinds := strings.Split(*shareKinds, ",")
	for b.Loop() {
		profiles := make(map[string][]*shares)
		for round := range *shareRounds {
			order := slices.Clone(kinds)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, kind := range order {
				profiles[kind] = append(profiles[kind], c.profile(b, kind))
			}
		}
		measured.Shares, measured.HeaderUp = nil, share{}
		for _, kind := range kinds {
			s := newShares()
			var ours, up []float64
			for _, each := range profiles[kind] {
				s.add(each)
				ours, up = append(ours, each.percent(layerOurs)), append(up, each.percent(layerHeaderUp))
			}
			fmt.Print(s.text(kind, *shareTop)) // b.Log prints ten lines at most
			result := share{kind, spread{s.percent(layerOurs), slices.Min(ours), slices.Max(ours)}.round(), s.total()}
			if kind == kindHardCoded {
				result.Percent = spread{s.percent(layerHeaderUp), slices.Min(up), slices.Max(up)}.round()
				measured.HeaderUp = result
			} else {
				measured.Shares = append(measured.Shares, result)
			}
		}
		if up := measured.HeaderUp; up.Samples > 0 {
			fmt.Printf("\nheader_up: %.2f %% (%.2f to %.2f)\n", up.Percent.Median, up.Percent.Low, up.Percent.High)
		}
		for _, s := range measured.Shares {
			fmt.Printf("%s: %.2f %% (%.2f to %.2f), %.2f more than header_up\n", s.Kind, s.Percent.Median, s.Percent.Low,
				s.Percent.High, measured.more(s))
		}
	}
}

// profile loads one kind and returns the shares of a CPU profile taken meanwhile.
func (c *caddies) profile(b *testing.B, kind string) *shares {
	b.Helper()
	l := c.load(b, "http1", kind, sizes[0], fieldsOf(kind, users))
	l.run(b, time.Second) // the accounts are in memory then
	var profile []byte
	var err error
	var asked sync.WaitGroup
	asked.Go(func() { profile, err = c.ask("/debug/pprof/profile?seconds=" + strconv.Itoa(*shareSeconds)) })
	l.run(b, time.Duration(*shareSeconds)*time.Second)
	asked.Wait()
	if err != nil {
		b.Fatalf("the CPU profile: %v", err)
	}
	return sharesOf(traces(b, write(b, filepath.Join(b.TempDir(), "cpu.pprof"), string(profile)), "samples"))
}

// ask returns an answer of the admin API.
func (c *caddies) ask(path string) ([]byte, error) {
	status, body, err := c.proxy.Admin(http.MethodGet, path, "", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	return body, err
}

// traces returns the stacks of a profile as "go tool pprof -traces" prints them.
func traces(b *testing.B, file, sample string, flags ...string) string {
	b.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("go",
		append(append([]string{"tool", "pprof", "-traces", "-sample_index=" + sample, "-symbolize=none"}, flags...), file)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("go tool pprof: %v\n%s", err, stderr.String())
	}
	return string(out)
}

// A layer is a part of the program to which the time of samples is attributed.
type layer string

const (
	layerOurs     layer = "ours"
	layerHeaderUp layer = "header_up"
	layerOther    layer = "other"
	layerRuntime  layer = "runtime" // the garbage collector's and the scheduler's own goroutines
	helper        layer = ""        // the function works for its caller
)

var (
	// ours are this module's functions.
	ours = regexp.MustCompile(`^github\.com/authinject/`)
	// headerUp is Caddy's package behind header_up.
	headerUp = regexp.MustCompile(`^github\.com/caddyserver/caddy/v2/modules/caddyhttp/headers\.`)
	// lent are functions of other layers whose time is their caller's, as for functions of the
	// standard library.
	lent = regexp.MustCompile(`^github\.com/caddyserver/caddy/v2\.(\(\*?Replacer\)|ToString)|` +
		`/caddyhttp\.(addHTTPVarsToReplacer|GetVar)|/reverseproxy\.(GetDialInfo|copyHeader)|\(\*?HTTPTransport\)\.(SetScheme|shouldUseTLS)|` +
		`^net/http\.(Header|\(\*?Header\)|\(\*Request\)\.(Context|WithContext|Clone|ProtoAtLeast)|cloneURL|CanonicalHeaderKey|Error$)`)
	// others are the packages of the layer layerOther.
	others = regexp.MustCompile(`^(net/http|net/http/[^.]*|net|crypto/[^.]*|internal/poll|golang\.org/x/net/http2|` +
		`github\.com/caddyserver/[^.]*|go\.uber\.org/zap[^.]*|vendor/golang\.org/x/net/[^.]*)(/v\d+)?\.`)
	// onlyForHeaderUp are the callees of reverse_proxy's loop that run only if header_up is
	// configured.
	onlyForHeaderUp = regexp.MustCompile(
		`/reverseproxy\.copyHeader$|^internal/runtime/maps\.NewEmptyMap$|^runtime\.makemap`)
)

// layerOf returns the layer of a function, or helper.
func layerOf(function string) layer {
	switch {
	case ours.MatchString(function):
		return layerOurs
	case headerUp.MatchString(function):
		return layerHeaderUp
	case lent.MatchString(function):
		return helper
	case others.MatchString(function):
		return layerOther
	}
	return helper
}

// owner returns the layer to which a stack belongs, with the function of that layer and the
// function that it called. The stack begins with the leaf. Helpers work for their caller, so the
// owner is the first layer from the leaf upwards.
func owner(stack []string) (of layer, function, callee string) {
	for _, function := range stack {
		switch of := layerOf(function); {
		case of == helper:
			callee = function
		case of == layerOther && strings.HasSuffix(function, ".proxyLoopIteration") && onlyForHeaderUp.MatchString(callee):
			return layerHeaderUp, function, callee
		default:
			return of, function, callee
		}
	}
	return layerRuntime, "", callee
}

// shares counts samples by owner.
type shares struct {
	samples map[layer]int
	by      map[layer]map[string]int // by function, and by what it called
	calls   map[layer]map[string]int
}

func newShares() *shares {
	return &shares{samples: map[layer]int{}, by: map[layer]map[string]int{}, calls: map[layer]map[string]int{}}
}

// sharesOf counts the samples in the output of "go tool pprof -traces".
func sharesOf(text string) *shares {
	s := newShares()
	for _, trace := range regexp.MustCompile(`(?m)^-+\+-+$`).Split(text, -1)[1:] {
		var stack []string
		count := 0
		for line := range strings.Lines(trace) {
			function := strings.TrimSuffix(strings.TrimSpace(line), " (inline)")
			if value, rest, found := strings.Cut(function, "   "); found && count == 0 {
				n, err := strconv.Atoi(value)
				if err != nil {
					continue // a label
				}
				count, function = n, strings.TrimSpace(rest)
			}
			if count != 0 && function != "" {
				stack = append(stack, function)
			}
		}
		of, function, callee := owner(stack)
		s.count(of, function, callee, count)
	}
	return s
}

func (s *shares) count(of layer, function, callee string, n int) {
	s.samples[of] += n
	for _, m := range []struct {
		to  map[layer]map[string]int
		key string
	}{{s.by, function}, {s.calls, function + "\x00" + callee}} {
		if m.to[of] == nil {
			m.to[of] = make(map[string]int)
		}
		m.to[of][m.key] += n
	}
}

func (s *shares) add(more *shares) {
	for of, calls := range more.calls {
		for call, n := range calls {
			function, callee, _ := strings.Cut(call, "\x00")
			s.count(of, function, callee, n)
		}
	}
}

func (s *shares) total() (total int) {
	for _, n := range s.samples {
		total += n
	}
	return total
}

// percent is the part of all samples that belongs to a layer.
func (s *shares) percent(of layer) float64 { return s.part(s.samples[of]) }

func (s *shares) part(n int) float64 { return 100 * float64(n) / float64(max(s.total(), 1)) }

// text lists the functions with most samples.
func (s *shares) text(kind string, top int) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s: %d samples, %.2f %% ours, %.2f %% header_up, %.2f %% the runtime's own\n", kind, s.total(),
		s.percent(layerOurs), s.percent(layerHeaderUp), s.percent(layerRuntime))
	for _, of := range []layer{layerOurs, layerHeaderUp} {
		for _, function := range most(s.by[of], top) {
			fmt.Fprintf(&out, "%6.2f %%  %s\n", s.part(s.by[of][function]), short(function))
			for _, call := range most(s.calls[of], top) {
				if caller, callee, _ := strings.Cut(call, "\x00"); caller == function && callee != "" {
					fmt.Fprintf(&out, "%12.2f %%  calling %s\n", s.part(s.calls[of][call]), short(callee))
				}
			}
		}
	}
	return out.String()
}

// most returns the keys with the highest counts, the highest first.
func most(counts map[string]int, n int) []string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return keys[:min(n, len(keys))]
}

// short returns a function's name without the directories of its package.
func short(function string) string { return function[strings.LastIndexByte(function, '/')+1:] }
