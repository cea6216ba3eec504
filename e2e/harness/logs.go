package harness

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// logs collects what a process writes, line by line.
type logs struct {
	mu    sync.Mutex
	lines []string
	rest  []byte // the line that is not complete yet
}

// Write implements io.Writer.
func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.lines = append(l.lines, string(line))
		l.rest = rest
	}
}

// all returns the lines so far, including an incomplete last line.
func (l *logs) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := slices.Clone(l.lines)
	if len(l.rest) > 0 {
		lines = append(lines, string(l.rest))
	}
	return lines
}

// find returns the first complete line that contains substr.
func (l *logs) find(substr string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, substr) {
			return line, true
		}
	}
	return "", false
}
