// Package caddy holds the Caddy modules of authinject:
//
//	authinject                                  the app: named token sources
//	authinject.grants.*                         how a source gets its tokens
//	http.reverse_proxy.transport.authinject     the transport that adds tokens to requests
//
// and their Caddyfile syntax: the global option authinject, the directive authinject, and
// "transport authinject" inside reverse_proxy. Token sources are in a process-wide pool, by a
// digest of their configuration. A source that a reload does not change keeps its token, and a
// token request under way during a reload is finished and stored.
package caddy
