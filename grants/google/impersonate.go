package google

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// iamCredentials is the service that issues tokens for other service accounts
// (https://cloud.google.com/iam/docs/reference/credentials/rest).
const iamCredentials = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"

// impersonated gets a token for the service account Impersonate. base is the identity's own access
// token.
func (g *Grant) impersonated(ctx context.Context, base *tokensource.TokenResponse) (*tokensource.TokenResponse, error) {
	method, ask := ":generateAccessToken", any(map[string]any{"scope": g.scopes()})
	if g.IDToken != "" {
		method, ask = ":generateIdToken", map[string]any{"audience": g.IDToken, "includeEmail": true}
	}
	body, _ := json.Marshal(ask) // strings always marshal
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, iamCredentials+url.PathEscape(g.Impersonate)+method,
		bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+base.AccessToken.Reveal())
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, &tokensource.Error{Class: tokensource.ClassWait, Reason: "the token endpoint could not be reached",
			Endpoint: "https://" + req.URL.Host}
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string    `json:"accessToken"`
		ExpireTime  time.Time `json:"expireTime"`
		Token       string    `json:"token"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return nil, &tokensource.Error{Class: tokensource.ClassWait, Status: resp.StatusCode,
			Reason: "Google's service for impersonation answered"}
	case resp.StatusCode != http.StatusOK:
		return nil, &tokensource.Error{Class: tokensource.ClassOperator, Status: resp.StatusCode,
			Reason: "Google does not let this identity impersonate the service account"}
	case err != nil:
		return nil, &tokensource.Error{Class: tokensource.ClassWait, Reason: "the answer of Google's service for " +
			"impersonation cannot be read"}
	case g.IDToken != "":
		return tokensource.NewTokenResponse(answer.Token), nil
	}
	end := answer.ExpireTime
	// The end is by Google's clock, and this machine's may be wrong.
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && !end.IsZero() {
		end = end.Add(time.Since(date))
	}
	return &tokensource.TokenResponse{AccessToken: tokensource.NewSecret(answer.AccessToken), ExpiresAt: end}, nil
}
