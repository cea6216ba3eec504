package tokensource_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authinject/caddy-authinject/tokensource"
)

// answer is the answer of a token endpoint to a grant's own request.
func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestReadTokenResponse(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"access_token":"at","token_type":"Bearer","expires_in":3599}`:                          3599 * time.Second,
		`{"access_token":"at","expires_in":"3599","refresh_token":"","not_before":"1506480273"}`: 3599 * time.Second,
		`{"access_token":"at"}`: 0,
		`{"access_token":"at","expires_on":"` + time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05Z07:00") +
			`"}`: time.Hour,
	} {
		granted, err := tokensource.ReadTokenResponse(answer(200, body))
		if err != nil || granted.AccessToken.Reveal() != "at" || granted.HasLifetime != (want > 0) ||
			(granted.Lifetime-want).Abs() > 2*time.Second {
			t.Errorf("%s: %+v, %v", body, granted, err)
		}
	}
	for _, c := range []struct {
		status int
		body   string
		class  tokensource.Class
		text   string
	}{
		{400, `{"error":"invalid_client","error_description":"sent-canary is wrong"}`, tokensource.ClassOperator,
			"the token endpoint answered 400 invalid_client"},
		{500, `sent-canary`, tokensource.ClassWait, "the token endpoint answered 500"},
		{200, `sent-canary`, tokensource.ClassWait, "the token endpoint's answer is not a token response"},
		{200, `{"error":"invalid_scope"}`, tokensource.ClassOperator, "invalid_scope"},
		{200, `{"access_token":"at","token_type":"mac"}`, tokensource.ClassOperator, "presented in another way"},
		{200, strings.Repeat("x", 2<<20), tokensource.ClassWait, "over 1 MiB"},
	} {
		_, err := tokensource.ReadTokenResponse(answer(c.status, c.body), tokensource.NewSecret("sent-canary"))
		var e *tokensource.Error
		if !errors.As(err, &e) || e.Class != c.class || !strings.Contains(err.Error(), c.text) ||
			strings.Contains(err.Error()+e.ProviderSaid(), "canary") {
			t.Errorf("%d: got %v", c.status, err)
		}
	}
}

func TestNewTokenResponse(t *testing.T) {
	if granted := tokensource.NewTokenResponse("opaque"); granted.AccessToken.Reveal() != "opaque" || granted.HasLifetime {
		t.Errorf("%+v", granted)
	}
	if granted := tokensource.NewTokenResponse(jwtFor("ada",
		time.Hour)); (granted.Lifetime - time.Hour).Abs() > 2*time.Second {
		t.Errorf("%+v", granted)
	}
}

// refusing is an oauth2.TokenSource that fails.
type refusing struct{ err error }

func (f refusing) Token() (*oauth2.Token, error) { return nil, f.err }

// An oauth2.TokenSource can say who has to act, and its error code may stand in the body alone.
func TestOAuth2GrantErrors(t *testing.T) {
	own := &tokensource.Error{Class: tokensource.ClassOperator, Reason: "no file"}
	if _, err := (tokensource.OAuth2Grant{TokenSource: refusing{own}}).Next(t.Context(), nil); !errors.Is(err, own) {
		t.Errorf("got %v", err)
	}
	refused := &oauth2.RetrieveError{Response: answer(400, ""),
		Body: []byte(`{"error":"invalid_grant","error_description":"canary"}`)}
	_, err := tokensource.OAuth2Grant{TokenSource: refusing{refused}}.Next(t.Context(), nil)
	var e *tokensource.Error
	if !errors.As(err, &e) || e.Class != tokensource.ClassOperator || e.Code != "invalid_grant" ||
		strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}
