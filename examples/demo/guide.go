package main

import (
	"fmt"
	"strings"
)

// guide returns a text that says what runs and what to try.
func (w *world) guide(port, admin int) string {
	var rows, tries strings.Builder
	for _, p := range w.providers {
		fmt.Fprintf(&rows, "  %-22s %s\n", p.title, p.URL)
		fmt.Fprintf(&tries, "  curl -i PROXY/%s/hello\n", p.preset)
	}
	return strings.NewReplacer(
		"PROXY", fmt.Sprintf("http://127.0.0.1:%d", port),
		"ADMIN", fmt.Sprintf("http://127.0.0.1:%d", admin),
		"PROVIDER", w.server.URL,
		"TOKEN_URL", w.server.TokenURL(),
		"LIFETIME", tokenLifetime.String(),
	).Replace(`
authinject demo, on this machine alone

  proxy                  PROXY
  page to connect on     PROXY/connect
  authorization server   TOKEN_URL   (for the proxy itself; tokens live LIFETIME)
  its API                PROVIDER/api      (refuses requests without a token)

and five providers, each with a login page and an API of its own:

` + rows.String() + `
Try, in another terminal:

  curl -i PROVIDER/api/hello
      around the proxy: 401, the API wants a token

  curl -i PROXY/api/hello
      through the proxy: 200, with a token that you never saw

  curl -i -H 'Authorization: Bearer junk' PROXY/api/hello
      200 as well: what a client sends as a credential stops at the proxy

  while sleep 1; do curl -s PROXY/api/hello; echo; done
      "token_number" goes up about every 16 s: each token is replaced before it
      ends, in the background, and no request waits for it

Open PROXY/connect in a browser and press Connect: log in as ada with any
password, and allow access. (Accelo shows a PIN instead: type it into the page.) Before
that, each of these is answered with 503 and says where to log in; after it, with 200:

` + tries.String() + `
tiny+ has nothing to renew its token with: the page tells you before it ends.

What an operator sees:

  curl -s ADMIN/authinject/sources
      how each source stands, in words
  curl -s ADMIN/metrics | grep ^authinject
      the same as metrics

Ctrl-C ends the demo.

`)
}
