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
	// literal matches the number in the name of a function literal, or of the wrapper in which a
	// goroutine begins. The numbers are left out, because a wrapper has another one than its
	// function.
	literal = regexp.MustCompile(`\.(func|gowrap)\d+$`)
)

// connection matches the goroutines of one HTTP connection, at either end.
var connection = regexp.MustCompile(`^net/http\.\(\*(conn|connReader|persistConn)\)`)

// Count counts the goroutines in stacks, which have the form of [runtime.Stack]. It leaves out
// goroutines of HTTP/1.1 connections, because an idle connection ends by itself, which may take
// minutes.
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

// More returns the kinds of goroutines that are more frequent than before, each with the present
// number.
func (c Census) More(before Census) Census {
	more := maps.Clone(c)
	maps.DeleteFunc(more, func(kind string, n int) bool { return n <= before[kind] })
	return more
}

// NoMoreGoroutines waits until no kind of goroutine is more frequent than before. If that does not
// happen, the test fails. stacks returns the present stacks.
func NoMoreGoroutines(t testing.TB, before Census, stacks func() string) {
	t.Helper()
	var more Census
	if !Poll(Patience, func() bool { more = Count(stacks()).More(before); return len(more) == 0 }) {
		t.Errorf("goroutines are left: %v", more)
	}
}
