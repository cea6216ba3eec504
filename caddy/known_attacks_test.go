package caddy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// Attacks on the login pages of other projects. Each has the name of the CVE or the project in
// which it was found first.
func TestKnownAttacks(t *testing.T) {
	p, ada := biggerplate(t, "")
	site := strings.TrimSuffix(ada.page, "/connect")
	ask := func(t *testing.T, method, target string, headers ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(method, site, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = target // as it stands, on the request line
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		return ada.do(req)
	}
	const script = `"><script>alert(1)</script>`

	t.Run("open redirects: CVE-2017-1000070, CVE-2020-4037, CVE-2020-5233", func(t *testing.T) {
		for _, evil := range []string{"//evil.example", "https://evil.example", `/\evil.example`, `\\evil.example`,
			"/%09/evil.example", "%2F%2Fevil.example", "https:evil.example"} {
			quoted := url.QueryEscape(evil)
			for _, target := range []string{
				"/connect?rd=" + quoted + "&return_to=" + quoted + "&next=" + quoted + "&source=a",
				"/connect/callback?state=" + quoted, "/connect/callback?code=x&state=" + quoted,
				"/connect/callback?error=x&state=" + quoted, "/connect/?" + quoted, "//evil.example/connect/",
				"/connect//evil.example/", "/connect/..//evil.example/", "/connect/%2F%2Fevil.example/",
			} {
				res, body := ask(t, http.MethodGet, target)
				if location := res.Header.Get("Location"); strings.Contains(location, "evil") {
					t.Errorf("%s leads to %s", target, location)
				}
				if strings.Contains(body, `href="//evil`) || strings.Contains(body, `href="https://evil`) ||
					res.Header.Get("Refresh") != "" {
					t.Errorf("%s links to it", target)
				}
			}
		}
		authorize := ada.begin("source", "a", "redirect_uri", "https://evil.example/", "return_to", "https://evil.example/",
			"state", "fixed")
		u, err := url.Parse(authorize)
		if err != nil || u.Query().Get("redirect_uri") != ada.page+"/callback" || strings.Contains(authorize, "evil") ||
			u.Query().Get("state") == "fixed" {
			t.Errorf("sent to %s", authorize)
		}
	})

	t.Run("the address of the callback by a header: CVE-2024-21499", func(t *testing.T) {
		for _, header := range [][2]string{
			{"X-Forwarded-Proto", "javascript"}, {"X-Forwarded-Host", "evil.example"},
			{"Forwarded", "host=evil.example;proto=javascript"}, {"X-Forwarded-Prefix", "//evil.example"},
			{"X-Original-URL", "//evil.example"}, {"X-Rewrite-URL", "//evil.example"}, {"X-Forwarded-Port", "1"},
		} {
			res, body := ask(t, http.MethodGet, "/connect", header[0], header[1])
			if strings.Contains(body, "evil") || strings.Contains(body, "javascript:") ||
				strings.Contains(res.Header.Get("Location"), "evil") {
				t.Errorf("%s is believed", header[0])
			}
		}
	})

	t.Run("script by path, query and Referer: CVE-2023-52430", func(t *testing.T) {
		quoted := url.QueryEscape(script)
		for _, target := range []string{
			"/connect/" + url.PathEscape(script), "/connect?source=" + quoted, "/connect?source=a&account=" + quoted,
			"/connect?notice=" + quoted,
			"/connect/callback?state=" + quoted + "&code=x", "/connect/callback?error=" + quoted,
			"/connect/callback?error=x&error_description=" + quoted + "&error_uri=javascript:alert(1)",
		} {
			_, body := ask(t, http.MethodGet, target, "Referer", site+"/"+script, "Accept-Language", script,
				"User-Agent", script)
			if strings.Contains(body, "<script>alert") || strings.Contains(body, "javascript:") {
				t.Errorf("%s is shown as it is:\n%s", target, body)
			}
		}
	})

	t.Run("a callback without what it needs: CVE-2023-27496", func(t *testing.T) {
		for _, query := range []string{"", "?", "?code", "?code=", "?state", "?state=&code=", "?code=x", "?error",
			"?error=&state=", "?access_token=x", "?=&&=", "?code=x&state=%00", "?code=x&state=" + strings.Repeat("x", 10_000)} {
			if res, _ := ask(t, http.MethodGet, "/connect/callback"+query); res.StatusCode >= 500 {
				t.Errorf("%s: %d", query, res.StatusCode)
			}
		}
	})

	t.Run("any token counts: CVE-2022-29226", func(t *testing.T) {
		for _, headers := range [][]string{
			{"Authorization", "Bearer x"}, {"Cookie", "BearerToken=x; OauthHMAC=x; IdToken=x"},
			{"X-Forwarded-Access-Token", "x"}, {"Authorization", "Bearer"},
		} {
			if res, _ := ask(t, http.MethodGet, "/api/x?access_token=x&_bearer_token=x",
				headers...); res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%q: %d", headers, res.StatusCode)
			}
		}
	})

	t.Run("another's account: CVE-2017-1000069", func(t *testing.T) {
		mallory := newPerson(t, ada.page)
		consent := rig.Allow(t, p, mallory.begin("source", "a"))
		// Ada's browser is led to the end of Mallory's login, while one of her own is under way.
		ada.begin("source", "a")
		if res, body := ada.open(consent.Redirect); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%d: %s", res.StatusCode, notice(body))
		}
	})

	if n := len(p.TokenRequests()); n != 0 || connected(ada) || len(p.APIRequests()) != 0 {
		t.Errorf("%d token requests, %d requests at the API", n, len(p.APIRequests()))
	}
}
