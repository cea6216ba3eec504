// Package authinject is how a request gets its token: an [http.RoundTripper],
// [Transport], and the guards around it.
//
// # Use
//
// A Transport stands in front of the RoundTripper that sends the request. It
// takes a token from a [TokenSource] and puts it into a private copy of the
// request, as late as possible: nothing that ran before, and nothing that looks
// at the request afterwards, ever sees the token.
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
// # Promises
//
//   - A token goes to its [Destinations] and nowhere else: not to a host that a
//     client chose, not after a redirect, not over plain http unless it stays on
//     this machine or the destination says http:// itself.
//   - A web page of another site gets nothing, where [Browsers] guards, by any method.
//   - The client's own credentials stop here, whatever happens next: header
//     fields with their aliases, trailers, query parameters, URL user names.
//   - The query keeps every other byte.
//   - A token that the upstream refused is replaced once, and the request sent
//     once more if its body could be kept.
//   - When no token could be had, the answer is made here, says who has to act,
//     and is not an error: a healthy upstream is not blamed. No request goes out
//     without its token.
//   - Shared caches are told that the answer belongs to somebody
//     (RFC 9111 section 3.5).
//
// # Concurrency
//
// A Transport is safe for concurrent use once its fields are set; they must not
// change afterwards. It starts no goroutine that outlives [Transport.Wait], save
// for one that reads at most 4 KiB of an answer that is thrown away, which ends
// with its request.
package authinject
