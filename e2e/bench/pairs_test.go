//go:build linux

package bench

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var (
	pairRounds = flag.Int("pairs.rounds", 6, "BenchmarkPairs: how often each pair is measured")
	pairBlock  = flag.Duration("pairs.block", 400*time.Millisecond, "BenchmarkPairs: length of one load")
)

// subject is a proxy under load.
type subject struct {
	load *load
	pids func() []int
}

// block is what one load brought.
type block struct {
	micros, perSecond float64
}

func (s subject) block(b *testing.B) block {
	b.Helper()
	pids := s.pids()
	before, began := cpu(b, pids...), time.Now()
	n := s.load.run(b, *pairBlock)
	took, used := time.Since(began), cpu(b, pids...)-before
	return block{micros: float64(used.Microseconds()) / float64(n), perSecond: float64(n) / took.Seconds()}
}

// BenchmarkPairs loads every kind of proxy in turn with the one that has a hard-coded header: first
// the one, twice the other, and the one again (ABBA), so that a machine that becomes slower or
// faster meanwhile changes both. Both get the same requests. The hard-coded header against itself
// is the noise.
func BenchmarkPairs(b *testing.B) {
	c := startCaddy(b)
	others := startOthers(b, c.plain)
	for b.Loop() {
		measured.Proxies, measured.Others, measured.Missing = nil, nil, nil
		for _, protocol := range protocols {
			for _, size := range sizes {
				comparePairs(b, c, others, protocol, size)
			}
		}
		for _, o := range others {
			if o.version == "" {
				measured.Missing = append(measured.Missing, o.kind)
			} else {
				measured.Others = append(measured.Others, o.version)
			}
		}
	}
}

func comparePairs(b *testing.B, c *caddies, others []*other, protocol string, size int) {
	b.Helper()
	caddy := func(l *load) subject { return subject{l, func() []int { return []int{c.proxy.PID()} }} }
	hardCoded := caddy(c.load(b, protocol, kindHardCoded, size, nil))
	bases := map[string]subject{
		kindAccount: caddy(c.load(b, protocol, kindHardCoded, size, fieldsOf(kindAccount, users))),
	}
	subjects, names := make(map[string]subject), kinds
	for _, kind := range kinds {
		subjects[kind] = caddy(c.load(b, protocol, kind, size, fieldsOf(kind, users)))
	}
	for _, o := range others {
		if o.version != "" && protocol == "http1" {
			names = append(slices.Clip(names), o.kind)
			subjects[o.kind] = subject{newLoad(b, o.addr, fmt.Sprintf("/%s/%d", o.kind, size)), o.processes}
		}
	}
	hardCoded.block(b)
	for _, kind := range names {
		if _, own := bases[kind]; !own {
			bases[kind] = hardCoded
		}
		subjects[kind].block(b) // warm
	}
	var cpuRatios, rateRatios = make(map[string][]float64), make(map[string][]float64)
	var micros, rates = make(map[string][]float64), make(map[string][]float64)
	for round := range *pairRounds {
		for _, kind := range names {
			a, z := bases[kind], subjects[kind]
			if round%2 == 1 {
				a, z = z, a
			}
			first, second, third, fourth := a.block(b), z.block(b), z.block(b), a.block(b)
			if round%2 == 1 {
				first, second, third, fourth = second, first, fourth, third
			}
			cpuRatios[kind] = append(cpuRatios[kind], (second.micros+third.micros)/(first.micros+fourth.micros))
			rateRatios[kind] = append(rateRatios[kind], (second.perSecond+third.perSecond)/(first.perSecond+fourth.perSecond))
			micros[kind] = append(micros[kind], (second.micros+third.micros)/2)
			rates[kind] = append(rates[kind], (second.perSecond+third.perSecond)/2)
		}
	}
	for _, kind := range names {
		result := comparison{
			Protocol: protocol, Size: size, Kind: kind, CPU: spreadOf(cpuRatios[kind]), Rate: spreadOf(rateRatios[kind]),
			Micros: round(median(micros[kind])), PerSecond: round(median(rates[kind])),
		}
		measured.Proxies = append(measured.Proxies, result)
		fmt.Printf("%s %8d bytes %-10s  CPU %.3f (%.3f to %.3f)  requests/s %.3f (%.3f to %.3f)  %.1f us, %.0f/s\n",
			protocol, size, kind,
			result.CPU.Median, result.CPU.Low, result.CPU.High, result.Rate.Median, result.Rate.Low, result.Rate.High,
			result.Micros, result.PerSecond)
	}
}
