package google

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/authinject/caddy-authinject/tokensource"
)

// credentialsFile is a JSON file with credentials.
type credentialsFile struct {
	from string // where the path is configured, for errors
	json []byte
	kind google.CredentialsType
}

// kinds are the types of credentials files that give tokens without a new login.
var kinds = []google.CredentialsType{
	google.ServiceAccount, google.AuthorizedUser, google.ExternalAccount, google.ExternalAccountAuthorizedUser,
	google.ImpersonatedServiceAccount,
}

// findFile reads the credentials file. It returns nil if none is configured and gcloud has none.
func (g *Grant) findFile() (*credentialsFile, error) {
	path, from := g.Credentials, "in credentials"
	if path == "" {
		path, from = os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"), "in GOOGLE_APPLICATION_CREDENTIALS"
	}
	optional := path == ""
	if optional {
		path, from = gcloudFile(), "of gcloud"
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator configures the path
	switch {
	case optional && err != nil:
		return nil, nil //nolint:nilnil,nilerr // gcloud is not set up for this user
	case errors.Is(err, fs.ErrNotExist):
		return nil, unusable(from, "does not exist")
	case err != nil:
		return nil, unusable(from, "cannot be read")
	}
	var content struct {
		Type google.CredentialsType `json:"type"`
	}
	if json.Unmarshal(text, &content) != nil || !slices.Contains(kinds, content.Type) {
		return nil, unusable(from, "is neither a service account's key nor another kind that works without a login")
	}
	return &credentialsFile{from: from, json: text, kind: content.Type}, nil
}

// gcloudFile returns the path of the file that `gcloud auth application-default login` writes.
func gcloudFile() string {
	const name = "application_default_credentials.json"
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("APPDATA"), "gcloud", name)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".config", "gcloud", name)
}

// unusable returns the error about a credentials file. It contains nothing from the file.
func unusable(from, why string) error {
	return &tokensource.Error{Class: tokensource.ClassOperator, Reason: "the Google credentials file " + from + " " + why}
}

// accessToken gets an access token.
func (f *credentialsFile) accessToken(ctx context.Context, scopes []string) (*tokensource.TokenResponse, error) {
	found, err := google.CredentialsFromJSONWithType(ctx, f.json, f.kind, scopes...)
	if err != nil {
		return nil, unusable(f.from, "is not complete")
	}
	return f.take(ctx, found.TokenSource)
}

// idToken gets an ID token for the audience
// (https://cloud.google.com/docs/authentication/get-id-token#service-account: the claim
// target_audience of the assertion).
func (f *credentialsFile) idToken(ctx context.Context, audience string) (*tokensource.TokenResponse, error) {
	if f.kind != google.ServiceAccount {
		return nil, unusable(f.from, "gives no ID token: that needs the key of a service account, the metadata server, or "+
			"impersonate")
	}
	conf, err := google.JWTConfigFromJSON(f.json)
	if err != nil {
		return nil, unusable(f.from, "is not complete")
	}
	conf.PrivateClaims = map[string]any{"target_audience": audience}
	conf.UseIDToken = true
	return f.take(ctx, conf.TokenSource(ctx))
}

// take gets one token from source. Its error contains no text from Google's answer.
func (f *credentialsFile) take(ctx context.Context, source oauth2.TokenSource) (*tokensource.TokenResponse, error) {
	req, err := tokensource.OAuth2Grant{TokenSource: source}.Next(ctx, nil)
	refused, ok := errors.AsType[*tokensource.Error](err)
	if ok && refused.Code == "invalid_grant" {
		return nil, unusable(f.from, "is refused by Google: its key was deleted, or its login has ended")
	}
	return req.Response, err
}
