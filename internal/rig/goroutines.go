package rig

import (
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Stacks returns the stacks of all goroutines of this process.
func Stacks() string {
	for size := 1 << 20; ; size *= 2 {
		text := make([]byte, size)
		if n := runtime.Stack(text, true); n < size {
			return string(text[:n])
		}
	}
}

// A Census counts goroutines by the function that each one runs and the function that started it.
type Census map[string]int

var (
	arguments = regexp.MustCompile(`\([^()]*\)$`)
	starter   = regexp.MustCompile(`^created by (.*?)( in goroutine \d+)?$`)
	// literal is the number of a function without a name. A goroutine that has not run yet is in a
	// wrapper of it, with a number of its own.
	literal = regexp.MustCompile(`\.(func|gowrap)\d+$`)
)

// connection matches the goroutines of one HTTP connection, at either end.
var connection = regexp.MustCompile(`^net/http\.\(\*(conn|connReader|persistConn)\)`)

// Count counts the goroutines in stacks, which are in the form of [runtime.Stack]. It leaves out
// those of HTTP/1.1 connections: an idle connection ends by itself, which may take minutes.
func Count(stacks string) Census {
	census := Census{}
	for stack := range strings.SplitSeq(stacks, "\n\n") {
		lines := strings.Split(strings.TrimSpace(stack), "\n")
		started := slices.IndexFunc(lines, starter.MatchString)
		if started < 3 {
			continue // the main goroutine
		}
		runs := literal.ReplaceAllString(arguments.ReplaceAllString(lines[started-2], ""), "")
		if !connection.MatchString(runs) {
			census[runs+", started by "+starter.FindStringSubmatch(lines[started])[1]]++
		}
	}
	return census
}

// More returns the kinds of which there are more goroutines than before, each with the number.
func (c Census) More(before Census) Census {
	more := maps.Clone(c)
	maps.DeleteFunc(more, func(kind string, n int) bool { return n <= before[kind] })
	return more
}

// NoMoreGoroutines waits until there are no more goroutines of any kind than before, and ends the
// test if there still are. Stacks returns the present ones.
func NoMoreGoroutines(t testing.TB, before Census, stacks func() string) {
	t.Helper()
	var more Census
	if !Poll(Patience, func() bool { more = Count(stacks()).More(before); return len(more) == 0 }) {
		t.Errorf("goroutines are left: %v", more)
	}
}
