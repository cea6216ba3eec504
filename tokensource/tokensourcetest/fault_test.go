package tokensourcetest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Each fault, as the client sees it and as the record shows it.
func TestFaultAnswers(t *testing.T) {
	at := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	for name, test := range map[string]struct {
		fault   Fault
		status  int
		header  string // "Name: value" that must be there
		body    string // that must be in it
		outcome string
	}{
		"503":            {Unavailable(), 503, "Content-Type: text/plain", "upstream", OutcomeUnprocessed},
		"503, processed": {ButProcessed(Unavailable()), 503, "", "upstream", OutcomeIssued},
		"429 seconds":    {TooManyRequests(6100 * time.Millisecond), 429, "Retry-After: 7", "slow_down", OutcomeUnprocessed},
		"429 date": {TooManyRequestsUntil(at), 429, "Retry-After: Mon, 03 Feb 2031 04:05:06 GMT",
			"", OutcomeUnprocessed},
		"HTML 200": {HTMLPage(200), 200, "Content-Type: text/html; charset=utf-8", "<!DOCTYPE", OutcomeUnprocessed},
		"HTML 403": {HTMLPage(403), 403, "", "<!DOCTYPE", OutcomeUnprocessed},
		"error 200": {OAuthError(200, "bad_refresh_token"), 200, "", `{"error":"bad_refresh_token"}`,
			OutcomeUnprocessed},
		"empty":       {Empty(200), 200, "Content-Length: 0", "", OutcomeUnprocessed},
		"broken JSON": {BrokenJSON(), 200, "", `"token_ty`, OutcomeUnprocessed},
		"redirect": {Redirect(307, "http://elsewhere.invalid/"), 307, "Location: http://elsewhere.invalid/", "",
			OutcomeUnprocessed},
		"token type": {SetMember("token_type", "mac"), 200, "", `"token_type":"mac"`, OutcomeIssued},
		"no token": {DeleteMember("access_token"), 200, "", `{"expires_in":3600,"token_type":"Bearer"}`,
			OutcomeIssued},
		"CR LF":     {TaintAccessToken("\r\nX: 1"), 200, "", `\r\nX: 1"`, OutcomeIssued},
		"non-ASCII": {TaintAccessToken("ü"), 200, "", `ü"`, OutcomeIssued},
		"verbatim header": {Fault{Answer: &Answer{Header: http.Header{"X-One": {"1"}}, Body: "<p>"}}, 200, "X-One: 1",
			"<p>", OutcomeUnprocessed},
		"drip":  {DripAnswer(time.Microsecond), 200, "", `"token_type":"Bearer"}`, OutcomeIssued},
		"delay": {Delay(time.Microsecond), 200, "", "access_token", OutcomeIssued},
		"late":  {DelayAnswer(time.Microsecond), 200, "", "access_token", OutcomeIssued},
	} {
		t.Run(name, func(t *testing.T) {
			srv := Start(t, Config{})
			srv.Script(test.fault)
			r := clientCredentials(t, srv)
			if r.status != test.status || !strings.Contains(r.body, test.body) {
				t.Errorf("got %d %s", r.status, r.body)
			}
			if field, value, ok := strings.Cut(test.header, ": "); ok && r.header.Get(field) != value {
				t.Errorf("header %v, want %s", r.header, test.header)
			}
			if r.header["Content-Type"] != nil && strings.HasPrefix(name, "verbatim") {
				t.Errorf("Content-Type %v was guessed", r.header["Content-Type"])
			}
			rec := last(t, srv)
			if rec.Outcome != test.outcome || rec.Status != test.status || !rec.Whole || !rec.Done ||
				rec.Fault != test.fault.Name {
				t.Errorf("record %+v", rec)
			}
			if n := len(srv.Issued()); (n == 1) != (test.outcome == OutcomeIssued) {
				t.Errorf("%d tokens issued, outcome %s", n, rec.Outcome)
			}
			wantToken(t, clientCredentials(t, srv)) // the fault hit only one request
		})
	}
}

func TestFaultBrokenConnections(t *testing.T) {
	for name, test := range map[string]struct {
		fault     Fault
		processed bool
		status    int
		err       error // the client's error; nil: any error
	}{
		"before reading":          {DropConnection(BeforeReading), false, 0, nil},
		"before processing":       {DropConnection(BeforeProcessing), false, 0, io.EOF},
		"answer lost":             {LoseAnswer(), true, 0, io.EOF},
		"half an answer":          {HalfAnswer(), true, 200, io.ErrUnexpectedEOF},
		"reset before reading":    {ResetConnection(BeforeReading), false, 0, syscall.ECONNRESET},
		"reset before processing": {ResetConnection(BeforeProcessing), false, 0, syscall.ECONNRESET},
		"reset instead of answer": {ResetConnection(BeforeAnswering), true, 0, syscall.ECONNRESET},
		"reset after half":        {ResetConnection(Halfway), true, 200, nil},
		"Content-Length too large": {Fault{Answer: &Answer{Header: http.Header{"Content-Length": {"99"}}, Body: "{"}},
			false, 200, io.ErrUnexpectedEOF},
	} {
		for _, tls := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " TLS"}[tls], func(t *testing.T) {
				srv := Start(t, Config{Rotation: StrictRotation(), TLS: tls})
				srv.Script(test.fault)
				token := srv.IssueRefreshToken("ada")
				r, err := send(srv, tokenRequest(srv, "grant_type", "refresh_token", "refresh_token", token))
				if err == nil {
					t.Fatalf("the client got a whole answer: %d %s", r.status, r.body)
				}
				if test.err != nil && !errors.Is(err, test.err) {
					t.Errorf("the client got %v, want %v", err, test.err)
				}
				if err := srv.WaitAnswered(soon(t), 1); err != nil {
					t.Fatal(err)
				}
				rec := last(t, srv)
				if rec.Whole || rec.Status != test.status || (rec.Outcome == OutcomeIssued) != test.processed {
					t.Errorf("record %+v", rec)
				}
				if unread := test.fault.Drop == BeforeReading; unread != (rec.Params == nil) {
					t.Errorf("params %v", rec.Params)
				}
				// The rotation has happened or not, depending on the fault.
				again := refreshWith(t, srv, token)
				if (again.status == 400) != test.processed {
					t.Errorf("the second attempt got %d %s", again.status, again.body)
				}
			})
		}
	}
}

func TestFaultHugeBody(t *testing.T) {
	srv := Start(t, Config{})
	srv.Script(HugeBody(3 << 20))
	r := clientCredentials(t, srv)
	if len(r.body) < 3<<20 || r.text("access_token") != "never-issued" {
		t.Errorf("%d bytes", len(r.body))
	}
}

// A client that stops reading must not keep the server from closing.
func TestFaultBodyNobodyReads(t *testing.T) {
	srv := Start(t, Config{})
	half := Fault{Answer: &Answer{Body: strings.Repeat("x", 64<<20)}, Drop: Halfway}
	srv.Script(HugeBody(1<<40), DripAnswer(time.Hour), half)
	for n := range 3 {
		resp, err := srv.Client().Do(tokenRequest(srv, "grant_type", "client_credentials"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := srv.WaitTokenRequests(soon(t), n+1); err != nil {
			t.Fatal(err)
		}
	}
	srv.Close()
	for _, rec := range srv.TokenRequests() {
		if !rec.Done || rec.Whole {
			t.Errorf("record %+v", rec)
		}
	}
}

func TestHold(t *testing.T) {
	for name, test := range map[string]struct {
		fault  func(<-chan struct{}) Fault
		issued int
	}{
		"before processing": {Hold, 0},
		"before answering":  {HoldAnswer, 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := Start(t, Config{})
			release := make(chan struct{})
			srv.Script(test.fault(release))
			done := make(chan reply)
			go func() {
				r, _ := send(srv, tokenRequest(srv, "grant_type", "client_credentials"))
				done <- r
			}()
			if err := srv.WaitTokenRequests(soon(t), 1); err != nil {
				t.Fatal(err)
			}
			wantToken(t, clientCredentials(t, srv)) // another request passes the held one
			if n := srv.CountGrant("client_credentials"); n != 2 {
				t.Errorf("%d requests counted", n)
			}
			if test.issued == 0 && srv.TokenRequests()[0].Outcome != "" {
				t.Error("the held request was carried out")
			}
			srv.ForgetRequests() // but not the one under way
			if list := srv.TokenRequests(); len(list) != 1 || list[0].Number != 1 || list[0].Done {
				t.Errorf("left after ForgetRequests: %+v", list)
			}
			ended, end := context.WithCancel(t.Context())
			end()
			if err := srv.WaitAnswered(ended, 1); err == nil {
				t.Error("a held request counts as answered")
			}
			close(release)
			if err := srv.WaitAnswered(soon(t), 1); err != nil {
				t.Error(err)
			}
			wantToken(t, <-done)
			if rec := last(t, srv); !rec.Done || !rec.Whole {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

// The client gives up while its response is held. The request is carried out, and the record says
// that the client was gone.
func TestHoldOutlivesTheClient(t *testing.T) {
	gone := make(chan (<-chan struct{}), 1)
	srv := Start(t, Config{
		Rotation: StrictRotation(),
		Owner: func(r *http.Request) string {
			gone <- r.Context().Done()
			return ""
		},
	})
	release := make(chan struct{})
	srv.Script(Hold(release))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	token := srv.IssueRefreshToken("ada")
	go func() {
		req := tokenRequest(srv, "grant_type", "refresh_token", "refresh_token", token)
		_, err := send(srv, req.WithContext(ctx))
		failed <- err
	}()
	if err := srv.WaitTokenRequests(soon(t), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatalf("the client got %v", err)
	}
	<-<-gone
	close(release)
	if err := srv.WaitAnswered(soon(t), 1); err != nil {
		t.Fatal(err)
	}
	if rec := last(t, srv); rec.Outcome != OutcomeIssued || rec.Whole {
		t.Errorf("record %+v", rec)
	}
	if v := srv.CheckStored(func(string) bool { return false }); len(v) != 0 {
		t.Errorf("a token that never arrived is missed: %v", v)
	}
}
