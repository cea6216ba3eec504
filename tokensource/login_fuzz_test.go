package tokensource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fuzzEndpoint counts token requests, and refuses them with a text that repeats the request.
type fuzzEndpoint struct{ n int }

func (e *fuzzEndpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	e.n++
	body, _ := io.ReadAll(req.Body)
	form, _ := url.ParseQuery(string(body))
	answer := fmt.Sprintf(`{"error":%q,"error_description":%q}`, form.Get("code"), body)
	return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(answer)), Request: req}, nil
}

// Whatever the response to a login contains, handling it does not panic. Without the state of a
// pending login nothing is sent and nothing is connected. No error repeats the response, except for
// known error codes.
func FuzzLoginAnswer(f *testing.F) {
	for _, seed := range []string{
		"code=abcdef", "error=access_denied&error_description=no", "error=invalid_grant",
		"access_token=abcdefgh&token_type=bearer&expires_in=60",
		"access_token=a%0d%0ab", "code=a&code=b", "error=", "code=invalid_grant", "access_token=x&expires_in=-1", "%00=%ff",
		"code=%ff%fe", "=", "",
	} {
		f.Add(seed, true, true, true)
		f.Add(seed, false, true, false)
		f.Add(seed, true, false, false)
	}
	f.Fuzz(func(t *testing.T, raw string, valid, code, typed bool) {
		answer, _ := url.ParseQuery(raw)
		ep := &fuzzEndpoint{}
		var grant Grant = Implicit{}
		if code {
			grant = AuthorizationCode{}
		}
		src, err := New(Config{
			Name: "s", Grant: grant, ClientID: "c", TokenURL: "https://a.example/token",
			AuthorizeURL: "https://a.example/authorize", Transport: ep,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = src.Close(context.Background()) }()
		req := LoginRequest{RedirectURL: "https://b.example/"}
		if typed {
			req.RedirectURL = ""
		}
		l, err := src.BeginLogin(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if !valid {
			l.State = NewSecret(answer.Get("state") + raw)
		}
		err = src.FinishLogin(context.Background(), l, answer)
		connected := src.Account("").Status().Live
		if !valid && (!errors.Is(err, ErrNoLogin) || ep.n > 0 || connected) {
			t.Fatalf("without a valid state: %v, %d requests", err, ep.n)
		}
		if (err == nil) != connected || code && connected || !code && ep.n > 0 || ep.n > 1 {
			t.Fatalf("%v, connected %t, %d requests", err, connected, ep.n)
		}
		if err == nil {
			return
		}
		if !fixedWords.MatchString(err.Error()) {
			t.Fatalf("%q has other words than the fixed ones", err)
		}
	})
}

// fixedWords matches every text that an error of a login may have.
var fixedWords = regexp.MustCompile(`^token source "s": (` + strings.Join([]string{
	regexp.QuoteMeta(ErrNoLogin.Error()), "the provider's answer contains a parameter more than once",
	"a parameter of the provider's answer is too long",
	"the provider refused the login", "access was denied at the provider", "the provider cannot process the login at the moment",
	"the provider sent neither a code nor an error",
	"the answer holds no access_token", regexp.QuoteMeta(responseRules{}.wrongType("the provider", "")),
	`the provider answered token_type "(` + strings.Join(otherTypes, "|") + `)": such a token is presented .*`,
	"the access token holds a space, a control character or a character outside ASCII, any of which could break a request",
	errNoLifetime.Error(), errZeroLifetime.Error(), answeredReason + "( 400)?", answeredReason + " with an error",
}, "|") + `)(, status 400)?((,| error|, error)? (` +
	strings.Join(slices.AppendSeq(slices.Clone(loginCodes), maps.Keys(codes)), "|") + `))?(: (` + remedyWords() + `))?$`)

// remedyWords matches all remedies, with any facts.
func remedyWords() string {
	var words []string
	for _, r := range remedies {
		do := regexp.QuoteMeta(r.Do)
		do = regexp.MustCompile(`\\\[(.*?)\\\]`).ReplaceAllString(do, "($1)?")
		do = regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(do, "[A-Za-z_ 0-9.:,-]*")
		words = append(words, do)
	}
	return strings.Join(words, "|")
}
