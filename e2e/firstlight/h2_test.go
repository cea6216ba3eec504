package firstlight

import (
	"net/http"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A client may send the credential field twice over HTTP/2. An HTTP/1.1 upstream still gets exactly
// one credential, the source's token.
func TestCredentialsOverHTTP2(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{NewAccessToken: func(uint64) string { return "ours-1" }})
	up := record(t)
	p := start(t, proxied(srv, up.addr))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, p.URL+"/p?x=1;y=2&_bearer_token=junk", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["authorization"] = []string{"Bearer junk", "Basic junk"}
	req.Header["Authorization"] = []string{"Bearer junk"}
	req.Header.Set("X-Left", "1")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", res.Proto, res.Status)
	}
	wantOne(t, up.last(t), "Authorization: Bearer ours-", "/p", "x=1;y=2", "")
}
