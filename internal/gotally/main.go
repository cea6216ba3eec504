// Command gotally reads the output of "go test -json" from standard input and prints it for people.
// It fails if a test failed or was skipped, or if no test ran.
//
// "go test" succeeds if tests were skipped. Here a skipped test means that something was not
// checked, so it counts as a failure.
//
// A passing package takes one line. A test that failed, was skipped or did not end is printed with
// all of its output. The last line reads
//
//	N passed, N failed, N skipped
//
// Subtests count as tests. With -name, a word and a colon precede the last line. With -o, the three
// numbers are also written to a file. -sum adds up the files of several runs:
//
//	go test -json ./... | gotally -name unit -o unit.tally
//	gotally -sum unit.tally e2e.tally
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	name := flag.String("name", "", "word to print before the closing line")
	out := flag.String("o", "", "file to write the counts to")
	sum := flag.Bool("sum", false, "add up the count files given as arguments instead of reading standard input")
	flag.Parse()

	var (
		c   counts
		err error
	)
	if *sum {
		c, err = sumFiles(flag.Args())
	} else {
		c, err = tally(os.Stdin, os.Stdout)
	}
	if err == nil && *out != "" {
		err = os.WriteFile(*out, []byte(c.String()+"\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotally:", err)
		os.Exit(1)
	}
	if *name != "" {
		fmt.Printf("%s: ", *name)
	}
	fmt.Println(c)
	if !c.ok() {
		os.Exit(1)
	}
}

// counts are the results of a run.
type counts struct {
	passed, failed, skipped int
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

// ok reports whether at least one test ran and none failed or was skipped.
func (c counts) ok() bool {
	return c.passed > 0 && c.failed == 0 && c.skipped == 0
}

// event is one line of "go test -json"; see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64
	Output  string
}

// tally reads a run from r, prints it to w and counts it.
func tally(r io.Reader, w io.Writer) (counts, error) {
	t := run{w: w, output: map[key][]string{}, broken: map[string]bool{}}
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			t.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return t.counts, err
		}
	}
	t.unfinished()
	return t.counts, nil
}

// key names a test, or a package if test is empty.
type key struct{ pkg, test string }

// run is the state of a run while it is read.
type run struct {
	counts
	w      io.Writer
	output map[key][]string // the output of each test or package that has not ended
	broken map[string]bool  // packages with a test that failed
}

func (t *run) line(line []byte) {
	var e event
	if line[0] != '{' || json.Unmarshal(line, &e) != nil {
		// This line is not from test2json: the go command itself wrote it.
		fmt.Fprintf(t.w, "%s", line)
		return
	}
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.w, e.Output)
	case "start", "run":
		t.output[k] = nil
	case "output":
		t.output[k] = append(t.output[k], e.Output)
	case "pass", "fail", "skip":
		t.end(k, e)
	}
}

// end counts and prints the test or package that ends with e.
func (t *run) end(k key, e event) {
	defer delete(t.output, k)
	if k.test == "" {
		t.endPackage(k, e)
		return
	}
	switch e.Action {
	case "pass":
		t.passed++
	case "fail":
		t.fail(k)
	case "skip":
		t.skipped++
		t.print(k)
	}
}

func (t *run) endPackage(k key, e event) {
	switch e.Action {
	case "fail":
		// A package can fail although all of its tests passed, such as when it does not build or a
		// leak is found at the end. That counts as a failure of its own.
		t.abandoned(k.pkg)
		if t.broken[k.pkg] {
			t.print(k)
		} else {
			t.fail(k)
		}
		fmt.Fprintf(t.w, "FAIL %s (%.1fs)\n", k.pkg, e.Elapsed)
	case "pass":
		fmt.Fprintf(t.w, "ok   %s (%.1fs)\n", k.pkg, e.Elapsed)
	default: // the go command's "skip" of a package without test files
		fmt.Fprintf(t.w, "     %s (no test files)\n", k.pkg)
	}
}

// fail counts and prints a failure.
func (t *run) fail(k key) {
	t.failed++
	t.broken[k.pkg] = true
	t.print(k)
}

// abandoned counts the tests of pkg that were running when the package ended. After a panic or a
// time-out, no event ends them.
func (t *run) abandoned(pkg string) {
	for _, k := range t.open() {
		if k.pkg == pkg && k.test != "" {
			t.fail(k)
			delete(t.output, k)
		}
	}
}

// unfinished counts the tests and packages that did not end because the run was cut off.
func (t *run) unfinished() {
	for _, k := range t.open() {
		t.fail(k)
		fmt.Fprintf(t.w, "FAIL %s %s (did not end)\n", k.pkg, k.test)
	}
}

// open returns the tests and packages that have started and not ended, in a stable order.
func (t *run) open() []key {
	return slices.SortedFunc(maps.Keys(t.output), func(a, b key) int {
		return cmp.Or(strings.Compare(a.pkg, b.pkg), strings.Compare(a.test, b.test))
	})
}

// print writes the output of k, without the lines that only say that a test began or how a package
// ended.
func (t *run) print(k key) {
	for _, s := range t.output[k] {
		if k.test == "" && (strings.HasPrefix(s, "FAIL") || strings.HasPrefix(s, "PASS")) {
			continue
		}
		if strings.HasPrefix(s, "=== ") {
			continue
		}
		fmt.Fprint(t.w, s)
		if !strings.HasSuffix(s, "\n") {
			fmt.Fprintln(t.w)
		}
	}
}

// sumFiles adds up the files that earlier runs wrote with -o.
func sumFiles(files []string) (counts, error) {
	var total counts
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return total, err
		}
		var c counts
		if _, err := fmt.Sscanf(string(b), "%d passed, %d failed, %d skipped", &c.passed, &c.failed, &c.skipped); err != nil {
			return total, fmt.Errorf("reading %s: %w", name, err)
		}
		total.passed += c.passed
		total.failed += c.failed
		total.skipped += c.skipped
	}
	return total, nil
}
