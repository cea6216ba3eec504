package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	const pkg = `"Package":"example.com/p"`
	ev := func(s ...string) string { return strings.Join(s, "\n") + "\n" }

	tests := []struct {
		name string
		in   string
		want counts
		ok   bool
		has  []string // in what is printed
		not  []string
	}{
		{
			name: "pass is quiet",
			in: ev(`{"Action":"start",`+pkg+`}`,
				`{"Action":"run",`+pkg+`,"Test":"TestA"}`,
				`{"Action":"output",`+pkg+`,"Test":"TestA","Output":"=== RUN   TestA\n"}`,
				`{"Action":"output",`+pkg+`,"Test":"TestA","Output":"    a_test.go:1: chatter\n"}`,
				`{"Action":"pass",`+pkg+`,"Test":"TestA","Elapsed":0}`,
				`{"Action":"output",`+pkg+`,"Output":"PASS\n"}`,
				`{"Action":"pass",`+pkg+`,"Elapsed":0.1}`),
			want: counts{passed: 1}, ok: true,
			has: []string{"ok   example.com/p"}, not: []string{"chatter"},
		},
		{
			name: "failure is printed",
			in: ev(`{"Action":"run",`+pkg+`,"Test":"TestA"}`,
				`{"Action":"output",`+pkg+`,"Test":"TestA","Output":"    a_test.go:1: got 1, want 2\n"}`,
				`{"Action":"fail",`+pkg+`,"Test":"TestA","Elapsed":0}`,
				`{"Action":"run",`+pkg+`,"Test":"TestB"}`,
				`{"Action":"pass",`+pkg+`,"Test":"TestB","Elapsed":0}`,
				`{"Action":"fail",`+pkg+`,"Elapsed":0}`),
			want: counts{passed: 1, failed: 1},
			has:  []string{"got 1, want 2", "FAIL example.com/p"},
		},
		{
			name: "skip fails the run and says why",
			in: ev(`{"Action":"run",`+pkg+`,"Test":"TestA"}`,
				`{"Action":"output",`+pkg+`,"Test":"TestA","Output":"    a_test.go:1: no browser\n"}`,
				`{"Action":"skip",`+pkg+`,"Test":"TestA","Elapsed":0}`,
				`{"Action":"run",`+pkg+`,"Test":"TestB"}`,
				`{"Action":"pass",`+pkg+`,"Test":"TestB","Elapsed":0}`),
			want: counts{passed: 1, skipped: 1},
			has:  []string{"no browser"},
		},
		{
			name: "a package without tests is no skip",
			in: ev(`{"Action":"start",`+pkg+`}`,
				`{"Action":"output",`+pkg+`,"Output":"?   \texample.com/p\t[no test files]\n"}`,
				`{"Action":"skip",`+pkg+`,"Elapsed":0}`,
				`{"Action":"run","Package":"q","Test":"TestB"}`,
				`{"Action":"pass","Package":"q","Test":"TestB"}`),
			want: counts{passed: 1}, ok: true,
		},
		{
			name: "nothing ran",
			in: ev(`{"Action":"start",`+pkg+`}`,
				`{"Action":"skip",`+pkg+`,"Elapsed":0}`),
			want: counts{},
		},
		{
			name: "no build",
			in: ev(`{"ImportPath":"example.com/p","Action":"build-output","Output":"p.go:1: undefined: x\n"}`,
				`{"ImportPath":"example.com/p","Action":"build-fail"}`,
				`{"Action":"start",`+pkg+`}`,
				`{"Action":"output",`+pkg+`,"Output":"FAIL\texample.com/p [build failed]\n"}`,
				`{"Action":"fail",`+pkg+`,"Elapsed":0,"FailedBuild":"example.com/p"}`),
			want: counts{failed: 1},
			has:  []string{"undefined: x", "FAIL example.com/p"},
		},
		{
			name: "panic leaves a test open",
			in: ev(`{"Action":"start",`+pkg+`}`,
				`{"Action":"run",`+pkg+`,"Test":"TestA"}`,
				`{"Action":"output",`+pkg+`,"Test":"TestA","Output":"panic: boom\n"}`,
				`{"Action":"fail",`+pkg+`,"Elapsed":0.1}`),
			want: counts{failed: 1},
			has:  []string{"panic: boom"},
		},
		{
			name: "package fails after its tests passed",
			in: ev(`{"Action":"start",`+pkg+`}`,
				`{"Action":"run",`+pkg+`,"Test":"TestA"}`,
				`{"Action":"pass",`+pkg+`,"Test":"TestA"}`,
				`{"Action":"output",`+pkg+`,"Output":"found unexpected goroutines\n"}`,
				`{"Action":"fail",`+pkg+`,"Elapsed":0.1}`),
			want: counts{passed: 1, failed: 1},
			has:  []string{"unexpected goroutines"},
		},
		{
			name: "cut off",
			in: ev(`{"Action":"start",`+pkg+`}`,
				`{"Action":"run",`+pkg+`,"Test":"TestA"}`),
			want: counts{failed: 2},
			has:  []string{"TestA (did not end)"},
		},
		{
			name: "plain text passes through",
			in:   "go: downloading example.com/q v1.0.0\n",
			want: counts{},
			has:  []string{"go: downloading"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			got, err := tally(strings.NewReader(tt.in), &out)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got.ok() != tt.ok {
				t.Errorf("ok() = %v, want %v", got.ok(), tt.ok)
			}
			for _, s := range tt.has {
				if !strings.Contains(out.String(), s) {
					t.Errorf("output lacks %q:\n%s", s, &out)
				}
			}
			for _, s := range tt.not {
				if strings.Contains(out.String(), s) {
					t.Errorf("output has %q:\n%s", s, &out)
				}
			}
		})
	}
}

func TestSumFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for name, c := range map[string]counts{a: {passed: 2}, b: {passed: 3, skipped: 1}} {
		if err := os.WriteFile(name, []byte(c.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := sumFiles([]string{a, b})
	if want := (counts{passed: 5, skipped: 1}); err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := sumFiles([]string{filepath.Join(dir, "missing")}); err == nil {
		t.Error("a missing file was taken for zero")
	}
}
