// Package authinject provides an [http.RoundTripper], [Transport], that adds an OAuth 2.0 bearer
// token to each request.
//
// # Use
//
// A Transport wraps the RoundTripper that sends the request. It takes a token from a
// [TokenSource] and puts it into a private copy of the request, as late as possible: code that runs
// before, or that looks at the request afterwards, does not see the token.
//
//	destinations, err := authinject.ParseDestinations("https://api.example.com")
//	...
//	transport := &authinject.Transport{
//		Base:         http.DefaultTransport,
//		Source:       func(*http.Request) (authinject.TokenSource, error) { return account, nil },
//		Destinations: destinations,
//	}
//
// The zero [Injection] is "Authorization: Bearer …" (RFC 6750 section 2.1).
//
// # Guarantees
//
//   - A token goes only to its [Destinations]: not to a host that a client chose, not after a redirect,
//     and not over plain http unless the connection stays on this machine or the destination says http://.
//   - A web page of another site cannot use the token, by any method, if [Browsers] is set.
//   - The client's own credentials are removed: header fields with their aliases, trailers, query
//     parameters, URL user names.
//   - Every other byte of the query is kept.
//   - A token that the upstream rejected is replaced once. The request is sent again if its body could
//     be kept.
//   - If there is no token, the Transport answers the request itself and says who has to act. That is not
//     an error, so a healthy upstream is not blamed. No request is sent without its token.
//   - Answers are marked private for shared caches (RFC 9111 section 3.5).
//
// # Concurrency
//
// A Transport is safe for concurrent use once its fields are set; they must not change afterwards.
// Its only goroutine reads at most 4 KiB of an answer that the client does not get, and ends with
// the request.
package authinject
