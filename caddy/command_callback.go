package caddy

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource"
)

// serveLogin takes the provider's answer to a login that was begun in a terminal (RFC
// 8252 section 7.3). What it came to is sent to answers, once. The returned function waits
// until the browser has been told.
func serveLogin(ctx context.Context, listener net.Listener, s connectSource, login *tokensource.Login, answers chan<- error) (stop func()) {
	redirect, err := url.Parse(login.RedirectURL)
	if err != nil {
		redirect = new(url.URL) // it was checked when the configuration was loaded
	}
	var used atomic.Bool
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			secure(w.Header())
			if r.URL.Path != redirect.Path || !host.IsLoopback(host.Name(r.Host)) {
				say(w, r, http.StatusNotFound, "There is nothing at this address.")
				return
			}
			answer := r.URL.Query()
			switch {
			case r.Method == http.MethodPost:
				r.Body = http.MaxBytesReader(w, r.Body, maxForm)
				if http.NewCrossOriginProtection().Check(r) != nil || r.ParseForm() != nil {
					say(w, r, http.StatusForbidden, "This request was made by a page of another site, or could not be read.")
					return
				}
				answer = r.PostForm
			case !isRead(r):
				say(w, r, http.StatusMethodNotAllowed, "This address does not take "+r.Method+".")
				return
			case !answer.Has("code") && !answer.Has("access_token") && !answer.Has("error"):
				_ = show(w, r, http.StatusOK, "fragment.html", view{Title: "Connecting …"}) // nobody is left to tell
				return
			}
			if len(answer["state"]) != 1 || !tokensource.NewSecret(answer.Get("state")).Equal(login.State) {
				say(w, r, http.StatusBadRequest, "This answer belongs to no login that is under way. Nothing was done with it.")
				return
			}
			if used.Swap(true) {
				say(w, r, http.StatusBadRequest, "This answer was brought already. The terminal says what came of it.")
				return
			}
			answer.Del("state")
			err := s.source.FinishLogin(ctx, login, answer)
			if err != nil {
				n := loginNotice(err, false)
				say(w, r, http.StatusBadRequest, inTerminal.Replace(n.Text)+" "+n.Detail)
			} else {
				_ = show(w, r, http.StatusOK, "message.html", view{Title: "Connected", Notice: &notice{Text: "Connected " + describe(s, login.Account) + ". You can close this page."}})
			}
			answers <- err
		}),
	}
	go func() { _ = server.Serve(listener) }() // ends with Shutdown
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}
}

// say answers with a page that holds one message.
func say(w http.ResponseWriter, r *http.Request, status int, message string) {
	_ = show(w, r, status, "message.html", view{Title: "Not done", Notice: alert(message)}) // nobody is left to tell
}
