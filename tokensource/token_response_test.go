package tokensource_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// visible contains all visible ASCII characters.
var visible = func() string {
	var b strings.Builder
	for c := byte(0x21); c < 0x7f; c++ {
		b.WriteByte(c)
	}
	return b.String()
}()

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}

// Responses that providers really send. A response without a lifetime gets the default of an hour.
// The bubble's clock is at 2000-01-01T00:00:00Z.
func TestAnswers(t *testing.T) {
	const now = 946684800
	jwt := func(claims string) string {
		return "eyJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	long := strings.Repeat("a", 100_000)
	const hour, min10 = time.Hour, 10 * time.Minute
	const tenYears = 10 * 365 * 24 * time.Hour
	for _, tt := range []struct {
		name, body, contentType string
		token                   string // expected; empty: none
		life                    time.Duration
		class                   tokensource.Class // expected if there is no token
	}{
		{name: "plain", body: `{"access_token":"at","token_type":"Bearer","expires_in":600}`, token: "at", life: min10},
		{name: "unknown members", body: `{"access_token":"at","expires_in":600,"x":{"y":[1]},"error_uri":null}`, token: "at",
			life: min10},
		{name: "expires_in string", body: `{"access_token":"at","expires_in":"600"}`, token: "at", life: min10},
		{name: "expires_in padded string", body: `{"access_token":"at","expires_in":" 600 "}`, token: "at", life: min10},
		{name: "expires_in float", body: `{"access_token":"at","expires_in":600.0}`, token: "at", life: min10},
		{name: "expires_in fraction", body: `{"access_token":"at","expires_in":600.5}`, token: "at",
			life: min10 + 500*time.Millisecond},
		{name: "expires_in exponent", body: `{"access_token":"at","expires_in":6e2}`, token: "at", life: min10},
		{name: "expires_in 0", body: `{"access_token":"at","expires_in":0}`, class: tokensource.ClassWait},
		{name: "expires_in negative", body: `{"access_token":"at","expires_in":-1}`, class: tokensource.ClassWait},
		{name: "expires_in huge", body: `{"access_token":"at","expires_in":1e300}`, token: "at", life: tenYears},
		{name: "expires_in beyond int64", body: `{"access_token":"at","expires_in":99999999999999999999}`, token: "at",
			life: tenYears},
		{name: "expires_in a date", body: fmt.Sprintf(`{"access_token":"at","expires_in":%d}`, now+600), token: "at",
			life: min10},
		{name: "expires_in a date, as text", body: fmt.Sprintf(`{"access_token":"at","expires_in":"%d"}`, now+600),
			token: "at", life: min10},
		{name: "expires_in a date in milliseconds", body: fmt.Sprintf(`{"access_token":"at","expires_in":%d}`,
			(now+600)*1000), token: "at", life: min10},
		{name: "expires_in a date that is past", body: fmt.Sprintf(`{"access_token":"at","expires_in":%d}`, now-600),
			class: tokensource.ClassWait},
		{name: "expires_in 20 years", body: `{"access_token":"at","expires_in":630720000}`, token: "at", life: tenYears},
		{name: "expires_in absent", body: `{"access_token":"at"}`, token: "at", life: hour},
		{name: "expires_in empty", body: `{"access_token":"at","expires_in":""}`, token: "at", life: hour},
		{name: "expires_in null", body: `{"access_token":"at","expires_in":null}`, token: "at", life: hour},
		{name: "expires_in words", body: `{"access_token":"at","expires_in":"never"}`, token: "at", life: hour},
		{name: "expires_in NaN", body: `{"access_token":"at","expires_in":"NaN"}`, token: "at", life: hour},
		{name: "expires_in object", body: `{"access_token":"at","expires_in":{}}`, token: "at", life: hour},
		{name: "expires Unix", body: fmt.Sprintf(`{"access_token":"at","expires":%d}`, now+600), token: "at", life: min10},
		{name: "expires past", body: fmt.Sprintf(`{"access_token":"at","expires":%d}`, now-1), class: tokensource.ClassWait},
		{name: "expires as seconds", body: `{"access_token":"at","expires":600}`, token: "at", life: min10},
		{name: "expires_at Unix string", body: fmt.Sprintf(`{"access_token":"at","expires_at":"%d"}`, now+600), token: "at",
			life: min10},
		{name: "expires_at in milliseconds", body: fmt.Sprintf(`{"access_token":"at","expires_at":%d}`, (now+600)*1000),
			token: "at", life: min10},
		{name: "expires_at RFC 3339", body: `{"access_token":"at","expires_at":"2000-01-01T00:10:00Z"}`, token: "at",
			life: min10},
		{name: "expires_at ISO 8601", body: `{"access_token":"at","expires_at":"2000-01-01T00:10:00.000+0000"}`, token: "at",
			life: min10},
		{name: "expires_at with a space", body: `{"access_token":"at","expires_at":"2000-01-01 01:10:00+01:00"}`, token: "at",
			life: min10},
		{name: "expires_at without a zone", body: `{"access_token":"at","expires_at":"2000-01-01 00:10:00"}`, token: "at",
			life: min10},
		{name: "expires_at in lower case", body: `{"access_token":"at","expires_at":"2000-01-01t00:10:00z"}`, token: "at",
			life: min10},
		{name: "expires_at of HTTP", body: `{"access_token":"at","expires_at":"Sat, 01 Jan 2000 00:10:00 GMT"}`, token: "at",
			life: min10},
		{name: "expires_at past, of HTTP", body: `{"access_token":"at","expires_at":"Fri, 31 Dec 1999 23:59:00 GMT"}`,
			class: tokensource.ClassWait},
		{name: "expires_at in microseconds", body: fmt.Sprintf(`{"access_token":"at","expires_at":%d}`, (now+600)*1000000),
			token: "at", life: min10},
		{name: "expires_in of almost nothing", body: `{"access_token":"at","expires_in":0.009}`, class: tokensource.ClassWait},
		{name: "created_at almost older than the life", body: fmt.Sprintf(
			`{"access_token":"at","expires_in":600.001,"created_at":%d}`, now-600), class: tokensource.ClassWait},
		{name: "expires_in wins over expires_at", body: `{"access_token":"at","expires_in":600,"expires_at":1}`, token: "at",
			life: min10},
		{name: "created_at old number", body: fmt.Sprintf(`{"access_token":"at","expires_in":1200,"created_at":%d}`, now-600),
			token: "at", life: min10},
		{name: "created_at old ISO", body: `{"access_token":"at","expires_in":1200,"created_at":"1999-12-31T23:50:00"}`,
			token: "at", life: min10},
		{name: "created_at now", body: fmt.Sprintf(`{"access_token":"at","expires_in":600,"created_at":%d}`, now-1),
			token: "at", life: min10},
		{name: "created_at older than the life", body: fmt.Sprintf(`{"access_token":"at","expires_in":600,"created_at":%d}`,
			now-601), class: tokensource.ClassWait},
		{name: "created_at in the future", body: fmt.Sprintf(`{"access_token":"at","expires_in":600,"created_at":%d}`,
			now+60), token: "at", life: min10},
		{name: "JWT with exp", body: `{"access_token":"` + jwt(fmt.Sprintf(`{"exp":%d}`, now+600)) + `"}`,
			token: jwt(fmt.Sprintf(`{"exp":%d}`, now+600)), life: min10},
		{name: "JWT with exp and expires_in", body: `{"access_token":"` + jwt(fmt.Sprintf(`{"exp":%d}`, now+60)) +
			`","expires_in":600}`, token: jwt(fmt.Sprintf(`{"exp":%d}`, now+60)), life: min10},
		{name: "JWT that has expired", body: `{"access_token":"` + jwt(fmt.Sprintf(`{"exp":%d}`, now-1)) + `"}`,
			class: tokensource.ClassWait},
		{name: "JWT without exp", body: `{"access_token":"` + jwt(`{}`) + `"}`, token: jwt(`{}`), life: hour},
		{name: "JWT with a broken payload", body: `{"access_token":"a.!.b"}`, token: "a.!.b", life: hour},
		{name: "dots but no JWT", body: `{"access_token":"a.b.c"}`, token: "a.b.c", life: hour},
		{name: "text/plain", body: `{"access_token":"at","expires_in":600}`, contentType: "text/plain", token: "at",
			life: min10},
		{name: "text/html", body: `{"access_token":"at","expires_in":600}`, contentType: "text/html; charset=utf-8",
			token: "at", life: min10},
		{name: "form", body: `access_token=at&expires_in=600&token_type=bearer`,
			contentType: "application/x-www-form-urlencoded", token: "at", life: min10},
		{name: "form as text/html", body: `access_token=a%2Bt&expires=600`, contentType: "text/html", token: "a+t",
			life: min10},
		{name: "form twice", body: `access_token=at&access_token=at2`, class: tokensource.ClassWait},
		{name: "form with an error", body: `error=invalid_client`, class: tokensource.ClassOperator},
		{name: "200 with an error", body: `{"error":"invalid_client"}`, class: tokensource.ClassOperator},
		{name: "200 with an error and a token", body: `{"error":"invalid_scope","access_token":"at"}`,
			class: tokensource.ClassOperator},
		{name: "200 with an error object", body: `{"error":{"code":"x"}}`, class: tokensource.ClassWait},
		{name: "200 with an empty error", body: `{"error":"","access_token":"at","expires_in":600}`, token: "at",
			life: min10},
		{name: "200 with error null", body: `{"error":null,"access_token":"at","expires_in":600}`, token: "at", life: min10},
		{name: "200 with ok false", body: `{"ok":false}`, class: tokensource.ClassWait},
		{name: "nested token", body: `{"data":{"access_token":"at"}}`, class: tokensource.ClassWait},
		{name: "HTML", body: `<html><body>Login</body></html>`, contentType: "text/html", class: tokensource.ClassWait},
		{name: "empty", body: ``, class: tokensource.ClassWait},
		{name: "blank", body: " \r\n", class: tokensource.ClassWait},
		{name: "truncated", body: `{"access_token":"at","expires_in":6`, class: tokensource.ClassWait},
		{name: "truncated after a member", body: `{"access_token":"at"`, class: tokensource.ClassWait},
		{name: "duplicate members", body: `{"access_token":"at","access_token":"other"}`, class: tokensource.ClassWait},
		{name: "duplicate by escape", body: `{"access_token":"at","access_toke\u006e":"other"}`,
			class: tokensource.ClassWait},
		{name: "other case", body: `{"Access_Token":"at"}`, class: tokensource.ClassWait},
		{name: "BOM", body: "\xef\xbb\xbf" + `{"access_token":"at","expires_in":600}`, token: "at", life: min10},
		{name: "array", body: `[{"access_token":"at"}]`, class: tokensource.ClassWait},
		{name: "string", body: `"at"`, class: tokensource.ClassWait},
		{name: "deeply nested", body: `{"x":` + strings.Repeat("[", 20000), class: tokensource.ClassWait},
		{name: "token_type bearer", body: `{"access_token":"at","token_type":"bearer"}`, token: "at", life: hour},
		{name: "token_type BEARER", body: `{"access_token":"at","token_type":"BEARER"}`, token: "at", life: hour},
		{name: "token_type null", body: `{"access_token":"at","token_type":null}`, token: "at", life: hour},
		{name: "token_type bot", body: `{"access_token":"at","token_type":"bot"}`, token: "at", life: hour},
		{name: "token_type User", body: `{"access_token":"at","token_type":"User"}`, token: "at", life: hour},
		{name: "token_type BearerToken", body: `{"access_token":"at","token_type":"BearerToken"}`, token: "at", life: hour},
		{name: "token_type pop", body: `{"access_token":"at","token_type":"pop"}`, class: tokensource.ClassOperator},
		{name: "token_type of no meaning", body: `{"access_token":"at","token_type":"Bearers"}`,
			class: tokensource.ClassOperator},
		{name: "token_type mac", body: `{"access_token":"at","token_type":"mac"}`, class: tokensource.ClassOperator},
		{name: "token_type DPoP", body: `{"access_token":"at","token_type":"DPoP"}`, class: tokensource.ClassOperator},
		{name: "token_type N_A (RFC 8693)", body: `{"access_token":"at","token_type":"N_A"}`,
			class: tokensource.ClassOperator},
		{name: "every visible character", body: `{"access_token":` + quoted(visible) + `}`, token: visible, life: hour},
		{name: "every visible character, in a form", body: "access_token=" + url.QueryEscape(visible), token: visible,
			life: hour},
		{name: "long token", body: `{"access_token":"` + long + `"}`, token: long, life: hour},
		{name: "CR LF", body: `{"access_token":"at\r\nX-Evil: 1"}`, class: tokensource.ClassOperator},
		{name: "space", body: `{"access_token":"a t"}`, class: tokensource.ClassOperator},
		{name: "non-ASCII", body: `{"access_token":"tökén"}`, class: tokensource.ClassOperator},
		{name: "NUL", body: `{"access_token":"a\u0000t"}`, class: tokensource.ClassOperator},
		{name: "DEL", body: `{"access_token":"a\u007ft"}`, class: tokensource.ClassOperator},
		{name: "a control character of Latin-1", body: `{"access_token":"a\u0085t"}`, class: tokensource.ClassOperator},
		{name: "= in the middle", body: `{"access_token":"a=t"}`, token: "a=t", life: hour},
		{name: "token null", body: `{"access_token":null}`, class: tokensource.ClassWait},
		{name: "token empty", body: `{"access_token":""}`, class: tokensource.ClassWait},
		{name: "token object", body: `{"access_token":{"value":"at"}}`, class: tokensource.ClassWait},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := reply{body: tt.body}
				if tt.contentType != "" {
					answer.header = http.Header{"Content-Type": {tt.contentType}}
				}
				ep := &endpoint{script: always(answer)}
				src := newSource(t, ep)
				if tt.token == "" {
					wantError(t, src, tt.class)
				} else if tok := wantToken(t, src, tt.token); time.Until(tok.Expiry) != tt.life {
					t.Errorf("the token lives for %s, want %s", time.Until(tok.Expiry), tt.life)
				}
				wantCount(t, ep, 1)
			})
		})
	}
}

// Times in a response are compared with the provider's clock if the response states it. A wrong
// clock neither shortens nor extends a token's lifetime.
func TestAnswerOfAProviderWithAnotherClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs := time.Now().Add(-3 * time.Hour)
		answer := reply{body: fmt.Sprintf(`{"access_token":"at","expires":%d}`, theirs.Add(10*time.Minute).Unix())}
		answer.header = http.Header{"Date": {theirs.UTC().Format(http.TimeFormat)}}
		tok := wantToken(t, newSource(t, &endpoint{script: always(answer)}), "at")
		if time.Until(tok.Expiry) != 10*time.Minute {
			t.Errorf("the token lives for %s, want 10 minutes", time.Until(tok.Expiry))
		}
	})
}

// The class of the error, by status and error code.
func TestFailureClasses(t *testing.T) {
	const wait, operator, login = tokensource.ClassWait, tokensource.ClassOperator, tokensource.ClassLogin
	for _, tt := range []struct {
		status int
		code   string
		want   tokensource.Class
	}{
		{400, "invalid_grant", login}, {401, "invalid_grant", login}, {403, "invalid_grant", login},
		{200, "invalid_grant", login},
		{400, "bad_refresh_token", login}, {200, "bad_refresh_token", login}, {400, "expired_token", login},
		{401, "token_inactive", login}, {400, "interaction_required", login}, {400, "login_required", login},
		{400, "consent_required", login},
		{400, "invalid_client", operator}, {401, "invalid_client", operator}, {403, "invalid_client", operator},
		{400, "invalid_request", operator}, {422, "invalid_request", operator},
		{400, "unauthorized_client", operator}, {400, "unsupported_grant_type", operator},
		{501, "unsupported_grant_type", operator},
		{400, "invalid_scope", operator}, {403, "access_denied", operator}, {400, "invalid_target", operator},
		{200, "incorrect_client_credentials", operator}, {400, "jti_known", operator},
		{400, "authorization_declined", operator},
		{400, "temporarily_unavailable", wait}, {400, "server_error", wait}, {400, "slow_down", wait},
		{503, "temporarily_unavailable", wait}, {500, "invalid_grant", wait}, {503, "invalid_client", wait},
		{400, "", wait}, {401, "", wait}, {403, "", wait}, {418, "", wait}, {400, "something_else", wait},
		{408, "", wait}, {429, "", wait}, {429, "invalid_client", wait},
		{500, "", wait}, {501, "", wait}, {502, "", wait}, {503, "", wait}, {504, "", wait}, {599, "", wait},
		{301, "", operator}, {302, "", operator}, {307, "", operator}, {308, "", operator},
		{404, "", operator}, {405, "", operator}, {410, "", operator}, {415, "", operator},
		{404, "something_else", wait}, {404, "invalid_grant", login},
	} {
		t.Run(fmt.Sprintf("%d %s", tt.status, tt.code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := reply{status: tt.status}
				if tt.code != "" {
					answer = refused(tt.status, tt.code)
				}
				storage := &tokensource.MemoryStorage{}
				e := wantError(t, newSource(t, &endpoint{script: always(answer)}, refreshing(storage, "rt0")), tt.want)
				if e.Status != tt.status || e.Code != tt.code {
					t.Errorf("got %d %q, want %d %q", e.Status, e.Code, tt.status, tt.code)
				}
				// With client credentials there is no account that a person could connect.
				want := tt.want
				if want == login {
					want = operator
				}
				wantError(t, newSource(t, &endpoint{script: always(answer)}), want)
			})
		})
	}
}
