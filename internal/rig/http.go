package rig

import (
	"context"
	"io"
	"net/http"
)

// Send sends a request without a body, with header fields as pairs of name and value, and reads the
// answer's body.
func Send(client *http.Client, method, url string, header ...string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, http.NoBody)
	if err != nil {
		return nil, "", err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return Read(client.Do(req))
}

// Read reads and closes an answer's body. Its arguments are the results of an HTTP client's call.
func Read(res *http.Response, err error) (*http.Response, string, error) {
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}
