package caddy

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

// serveLogin takes the provider's answer to a login that was begun in a terminal. What came of it is
// sent to results, once. The returned function waits until the browser has been told.
func serveLogin(ctx context.Context, listener net.Listener, s connect.Source, login *tokensource.Login, results chan<- error) (stop func()) {
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: connect.Terminal(ctx, s, login, results)}
	go func() { _ = server.Serve(listener) }() // ends with Shutdown
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}
}
