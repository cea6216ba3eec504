// Package caddy holds the Caddy modules of authinject:
//
//	authinject                                  the app: named token sources
//	authinject.grants.*                         how a source gets its tokens
//	http.reverse_proxy.transport.authinject     the transport that puts them into requests
//
// and their Caddyfile syntax: the global option authinject, the directive authinject, and
// "transport authinject" inside reverse_proxy.
//
// Token sources live in a process-wide pool, keyed by a digest of their configuration: a source
// that a reload does not change goes on with the token it has, and a token request that a reload
// finds under way is finished and stored.
package caddy
