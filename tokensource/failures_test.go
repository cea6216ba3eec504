package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// documented reads the rows of the first table of docs/failures.md.
func documented(t *testing.T) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../docs/failures.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			t.Fatalf("the table has a row without four cells: %s", line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// answering returns the reply that a row describes in words.
func answering(t *testing.T, status int, words string) reply {
	t.Helper()
	r := reply{status: status}
	code, isCode := strings.CutPrefix(strings.TrimSuffix(words, "`"), "`")
	switch {
	case isCode:
		r.body = `{"error":"` + code + `"}`
	case words == "a token":
		r.body = granted(1, time.Hour).body
	case words == "nothing":
	case words == "a redirect":
		r.header = http.Header{"Location": {"https://elsewhere.example/token"}}
	case words == "an unknown code":
		r.body = `{"error":"something_else"}`
	case words == "an HTML page":
		r.body, r.header = "<!DOCTYPE html><title>No</title>", http.Header{"Content-Type": {"text/html"}}
	case words == "half of a token, then the connection ends":
		r.body = `{"access_token":"at1","token_ty`
	case words == "JSON without a token":
		r.body = `{"token_type":"Bearer"}`
	case words == "over 1 MiB":
		r.body = `{"access_token":"` + strings.Repeat("a", 1<<20) + `"}`
	case words == "a token of another token_type":
		r.body = `{"access_token":"at1","token_type":"mac"}`
	case words == "a token of an unknown token_type":
		r.body = `{"access_token":"at1","token_type":"opaque"}`
	case words == "a token of token_type bot":
		r.body = `{"access_token":"at1","token_type":"bot"}`
	case words == "a token with expires_in 0":
		r.body = `{"access_token":"at1","token_type":"Bearer","expires_in":0}`
	case words == "a token with expires_in below 0":
		r.body = `{"access_token":"at1","token_type":"Bearer","expires_in":-60}`
	case words == "a token with a created_at that is older than its expires_in":
		r.body = fmt.Sprintf(`{"access_token":"at1","token_type":"Bearer","expires_in":60,"created_at":%d}`,
			time.Now().Add(-time.Hour).Unix())
	case words == "a token with a line break in it":
		r.body = `{"access_token":"at1\r\nX: y","token_type":"Bearer"}`
	case strings.HasPrefix(words, "Retry-After: "):
		r = withHeader(r, "Retry-After", strings.TrimPrefix(words, "Retry-After: "))
	default:
		t.Fatalf("the test has no reply for %q", words)
	}
	return r
}

// Each response in the table has the documented effect.
func TestFailuresAreAsDocumented(t *testing.T) {
	rows := documented(t)
	if len(rows) != 43 {
		t.Fatalf("the table has %d rows, want 43: change the number with the table", len(rows))
	}
	for _, row := range rows {
		t.Run(row[0]+" "+row[1], func(t *testing.T) {
			status, err := strconv.Atoi(row[0])
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{}
				ep.set(always(answering(t, status, row[1])))
				src := newSource(t, ep, refreshing(new(tokensource.MemoryStorage), "seed"))
				_, err := src.Token(context.Background())
				if row[2] == "" {
					if err != nil {
						t.Errorf("got %v", err)
					}
					return
				}
				var failure *tokensource.Error
				if !errors.As(err, &failure) || string(failure.Class) != row[2] {
					t.Fatalf("got %v, want class %s", err, row[2])
				}
				want, _ := strings.CutSuffix(row[3], " s")
				if want == "" {
					if !failure.RetryAt.IsZero() {
						t.Errorf("RetryAt is %v, want none", failure.RetryAt)
					}
					return
				}
				seconds, err := strconv.Atoi(want)
				if err != nil {
					t.Fatal(err)
				}
				wait, about := time.Until(failure.RetryAt), time.Duration(seconds)*time.Second
				if wait < about*8/10-time.Second/10 || wait > about*12/10+time.Second/10 {
					t.Errorf("RetryAt is in %v, want about %v", wait, about)
				}
			})
		})
	}
}
