package google

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
)

// metadataToken gets an access token of the machine's service account
// (https://cloud.google.com/compute/docs/access/authenticate-workloads).
func (g *Grant) metadataToken(ctx context.Context, scopes []string) (*tokensource.TokenResponse, error) {
	resp, err := g.askMetadata(ctx, "token", url.Values{"scopes": {strings.Join(scopes, ",")}}) //nolint:bodyclose // ReadTokenResponse closes it
	if err != nil {
		return nil, err
	}
	return tokensource.ReadTokenResponse(resp)
}

// metadataIDToken gets an ID token of the machine's service account
// (https://cloud.google.com/compute/docs/instances/verifying-instance-identity).
func (g *Grant) metadataIDToken(ctx context.Context) (*tokensource.TokenResponse, error) {
	resp, err := g.askMetadata(ctx, "identity", url.Values{"audience": {g.IDToken}, "format": {"full"}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, &tokensource.Error{Class: tokensource.ClassWait,
			Reason: "the Google metadata server's answer was cut short"}
	}
	return tokensource.NewTokenResponse(strings.TrimSpace(string(text))), nil
}

// askMetadata requests a token of the default service account from the metadata server. The caller
// must close the answer's body. The answer has status 200. The environment variable
// GCE_METADATA_HOST replaces the server's address, as in Google's own libraries.
func (g *Grant) askMetadata(ctx context.Context, what string, query url.Values) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: cmp.Or(os.Getenv("GCE_METADATA_HOST"), "169.254.169.254"),
		Path: "/computeMetadata/v1/instance/service-accounts/default/" + what, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("the environment variable GCE_METADATA_HOST is no address")
	}
	req.Header.Set("Metadata-Flavor", "Google")
	resp, err := g.metadata.Do(req)
	if err == nil && resp.Header.Get("Metadata-Flavor") != "Google" {
		// "When the metadata server responds, it includes the header Metadata-Flavor: Google":
		// another server answers at that address.
		resp.Body.Close()
		err = errors.New("another server")
	}
	if err != nil {
		return nil, &tokensource.Error{Class: tokensource.ClassOperator, Reason: "the Google metadata server did not answer"}
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	resp.Body.Close()
	failure := &tokensource.Error{Class: tokensource.ClassOperator,
		Reason: "the Google metadata server refuses the request", Status: resp.StatusCode}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		failure.Reason = "the Google metadata server has no service account for this machine"
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		failure.Class, failure.Reason = tokensource.ClassWait, "the Google metadata server answered"
	}
	return nil, failure
}
