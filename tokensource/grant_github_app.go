package tokensource

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/jwt"
)

// The comments cite these pages of GitHub's documentation by the names jwt, token and rest:
//
//	jwt    https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
//	token  https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-an-installation-access-token-for-a-github-app
//	rest   https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app

// GitHubApp gets tokens for an installation of a GitHub App. The app authenticates with a JWT that
// this process signs. The request is not an OAuth token request: it carries the JWT as a Bearer
// token, and the answer has another form. The tokens live for an hour.
type GitHubApp struct {
	// AppID is the app's client id, or its numeric id. Required.
	AppID string
	// InstallationID is the number of the installation. Required.
	InstallationID string
	// Key is the app's private key in PEM. It is read for each request. Required.
	Key Value
	// APIURL is the API's address: https, or http on loopback. The default is [GitHubAPI]. GitHub
	// Enterprise Server uses https://HOST/api/v3.
	APIURL string
	// Repositories limit the tokens to these repositories, named without the owner. The default is
	// all repositories that the installation has.
	Repositories []string
	// Permissions limit what the tokens allow: names such as contents, with the levels read, write
	// or admin. The default is all that the installation has.
	Permissions map[string]string
}

// GitHubAPI is the API of github.com.
const GitHubAPI = "https://api.github.com"

const (
	// githubAge is how far the iat of the app's JWT is set back: "we recommend that you set this 60
	// seconds in the past" (jwt).
	githubAge = time.Minute
	// githubLifetime is how long the JWT is valid: "no more than 10 minutes into the future" (jwt).
	// The other 5 minutes allow for a local clock that is ahead.
	githubLifetime = 5 * time.Minute
	// githubVersion is the version of the API in which the answer has the form that is read here
	// (rest).
	githubVersion = "2022-11-28"
)

// Check reports what is wrong with the fields, except with the key, which is read later; see
// [GitHubApp.CheckKey].
func (g GitHubApp) Check() error {
	switch {
	case g.AppID == "":
		return errors.New("grant github_app needs app_id: the client id or the number of the app, on its settings page")
	case g.InstallationID == "":
		return errors.New("grant github_app needs installation_id: the number at the end of the address of the " +
			"installation's settings page")
	case strings.Trim(g.InstallationID, "0123456789") != "":
		return fmt.Errorf("installation_id %q is not a number", g.InstallationID)
	case g.Key == nil:
		return errors.New("grant github_app needs a key, such as: key {file./run/secrets/app.pem}")
	}
	if g.APIURL != "" {
		if err := CheckEndpoint("api_url", g.APIURL); err != nil {
			return err
		}
		if strings.ContainsAny(g.APIURL, "?") || strings.HasSuffix(g.APIURL, "/") {
			return errors.New("api_url must have no query, and no slash at its end")
		}
	}
	for _, name := range g.Repositories {
		if name == "" || strings.Contains(name, "/") {
			return fmt.Errorf("repositories: %q is not the name of a repository without its owner, such as hello-world", name)
		}
	}
	for name, level := range g.Permissions {
		if name == "" {
			return errors.New("a permission needs a name, such as contents")
		}
		if err := CheckWord("permission "+name, level, []string{"read", "write", "admin"}); err != nil {
			return err
		}
	}
	return nil
}

// CheckKey reads the key, and returns what is wrong with it now.
func (g GitHubApp) CheckKey(ctx context.Context) error {
	_, err := readKey(ctx, g.Key, "RS256")
	return err
}

// Traits implements [Grant]. The grant sends no OAuth token request, so it needs no token_url.
func (GitHubApp) Traits() Traits { return Traits{Renews: true, NoTokenURL: true, ClientOptional: true} }

// Next implements [Grant].
func (g GitHubApp) Next(context.Context, *Record) (Request, error) {
	api := &apiRequest{url: cmp.Or(g.APIURL, GitHubAPI) + "/app/installations/" + g.InstallationID + "/access_tokens"}
	if len(g.Repositories) > 0 || len(g.Permissions) > 0 {
		api.body, _ = json.Marshal(struct {
			Permissions  map[string]string `json:"permissions,omitempty"`
			Repositories []string          `json:"repositories,omitempty"`
		}{g.Permissions, g.Repositories}) // strings always marshal
	}
	return Request{Assertion: g.assertion, api: api}, nil
}

// assertion signs the app's JWT.
func (g GitHubApp) assertion(ctx context.Context, _ string, now time.Time) (Secret, error) {
	key, err := readKey(ctx, g.Key, "RS256") // "must be signed using the RS256 algorithm" (jwt)
	if err != nil {
		return Secret{}, err
	}
	return sign(key, "", map[string]any{
		"iss": g.AppID, "jti": jwt.NewID(), "iat": now.Add(-githubAge).Unix(), "exp": now.Add(githubLifetime).Unix(),
	})
}

// apiRequest is a request for a token at GitHub's API (rest).
type apiRequest struct {
	url  string
	body []byte // JSON; nil: none
}

// shape returns the fields of the request.
func (r *apiRequest) shape(assertion string) http.Header {
	header := http.Header{
		"Authorization": {"Bearer " + assertion}, "Accept": {"application/vnd.github+json"},
		"X-Github-Api-Version": {githubVersion},
	}
	if r.body != nil {
		header.Set("Content-Type", "application/json")
	}
	return header
}

// members returns the members of an answer by the names of RFC 6749 section 5: the token is in
// token, its end in expires_at, and the text of an error in message (rest).
func (r *apiRequest) members(members map[string]json.RawMessage) map[string]json.RawMessage {
	named := make(map[string]json.RawMessage)
	for from, to := range map[string]string{"token": "access_token", "expires_at": "expires_at",
		"message": "error_description"} {
		if value, ok := members[from]; ok {
			named[to] = value
		}
	}
	return named
}

// failure sets class and reason by what the status means in GitHub's API (rest).
func (r *apiRequest) failure(failure *Error) *Error {
	switch failure.Status {
	case http.StatusUnauthorized:
		failure.Class, failure.Reason = ClassOperator, grantRefused+answeredReason
		return failure.withFacts(facts{"assertion_options": "key and app_id"})
	case http.StatusNotFound:
		failure.Class, failure.Reason = ClassOperator, "the app has no such installation"
	case http.StatusUnprocessableEntity:
		failure.Class, failure.Reason = ClassOperator, "the installation cannot grant these repositories or permissions"
	}
	return failure
}

// Interface guard
var _ Grant = GitHubApp{}
