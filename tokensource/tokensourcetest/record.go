package tokensourcetest

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// The outcomes of a token request that are not an OAuth error code.
const (
	// OutcomeIssued means that tokens were issued, whether or not the answer
	// arrived.
	OutcomeIssued = "issued"
	// OutcomeRepeated means that a token issued earlier was handed out again
	// (Config.SameTokenWithin).
	OutcomeRepeated = "repeated"
	// OutcomeUnprocessed means that a fault kept the request from being carried
	// out: nothing has changed.
	OutcomeUnprocessed = "unprocessed"
)

// TokenRequest is the record of one request to the token endpoint. It holds
// secrets: they are for tests to look at, not to print. It is complete before
// the client can have the end of the answer.
type TokenRequest struct {
	// Number counts the token requests, from 1, in the order in which they had
	// been read.
	Number int
	// Arrived and Processed are when it had been read and when it was carried
	// out, by Config.Now; Processed is zero when it was not.
	Arrived, Processed time.Time
	// Owner is what Config.Owner says of it.
	Owner string
	// Method, RawQuery, Header and RemoteAddr are those of the HTTP request.
	Method, RawQuery, RemoteAddr string
	Header                       http.Header
	// Params are the parameters of body and query together, credentials
	// included. Empty for a request that was dropped unread.
	Params url.Values
	// Format is where the parameters stood.
	Format BodyFormat
	// ClientID and Auth are the client and the method it tried, as far as that
	// could be told. Whether it was believed is in Outcome.
	ClientID string
	Auth     AuthMethod
	// Grant is the grant_type parameter.
	Grant string
	// Deployment is the one addressed, at a [Provider] that has them.
	Deployment string

	// Fault is the name of the fault, or empty.
	Fault string
	// Outcome is [OutcomeIssued], [OutcomeRepeated], [OutcomeUnprocessed] or an
	// error code of RFC 6749 section 5.2; empty while the request is under way.
	Outcome string
	// Reuse is true when the request used a refresh token that was spent and
	// past its grace, and so revoked the login.
	Reuse bool
	// TokenNumber, AccessToken and RefreshToken are what the answer handed out,
	// before any fault changed it; zero when nothing.
	TokenNumber               uint64
	AccessToken, RefreshToken string

	// Done is true once the server has finished with the request.
	Done bool
	// Status is the HTTP status that was sent; 0 when nothing was.
	Status int
	// Whole is true when the answer was written to its end while the client was
	// still there, as far as the server could see.
	Whole bool

	arrival, processing int // positions in the order of all events; 0: never
}

// records is all that was seen. Server.mu guards it.
type records struct {
	token  []*TokenRequest
	api    []*APIRequest
	number int           // of the last token request, across ForgetRequests
	events int           // the last position handed out
	change chan struct{} // closed and replaced when anything changes
}

func newRecords() records { return records{change: make(chan struct{})} }

// event returns the next position in the order of events. The caller holds s.mu.
func (r *records) event() int {
	r.events++
	return r.events
}

// changed wakes everybody who waits. The caller holds s.mu.
func (r *records) changed() {
	close(r.change)
	r.change = make(chan struct{})
}

// clone copies what a caller could otherwise change or see changing.
func (t *TokenRequest) clone() TokenRequest {
	c := *t
	c.Header = t.Header.Clone()
	c.Params = url.Values(http.Header(t.Params).Clone())
	return c
}

// TokenRequests returns the token requests so far, oldest first, including
// those still under way.
func (s *Server) TokenRequests() []TokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]TokenRequest, len(s.records.token))
	for i, t := range s.records.token {
		list[i] = t.clone()
	}
	return list
}

// Count returns how many token requests have arrived.
func (s *Server) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records.token)
}

// CountGrant returns how many token requests with this grant_type have arrived.
func (s *Server) CountGrant(grant string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, t := range s.records.token {
		if t.Grant == grant {
			n++
		}
	}
	return n
}

// ForgetRequests drops the records of all requests that are over, so that a
// test can count from here. Tokens, numbers and faults stay.
func (s *Server) ForgetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open []*TokenRequest
	for _, t := range s.records.token {
		if !t.Done {
			open = append(open, t)
		}
	}
	s.records.token, s.records.api = open, nil
	s.records.changed()
}

// WaitTokenRequests waits until at least n token requests have arrived, be they
// answered or not: one that a fault holds counts. It returns the error of ctx if
// that ends first.
func (s *Server) WaitTokenRequests(ctx context.Context, n int) error {
	return s.wait(ctx, func() bool { return len(s.records.token) >= n })
}

// WaitAnswered waits until the server has finished with at least n token
// requests, be they answered, dropped or cut off.
func (s *Server) WaitAnswered(ctx context.Context, n int) error {
	return s.wait(ctx, func() bool {
		done := 0
		for _, t := range s.records.token {
			if t.Done {
				done++
			}
		}
		return done >= n
	})
}

// WaitAPIRequests waits until the API has judged at least n requests.
func (s *Server) WaitAPIRequests(ctx context.Context, n int) error {
	return s.wait(ctx, func() bool { return len(s.records.api) >= n })
}

// wait waits until reached, which runs with s.mu held, returns true.
func (s *Server) wait(ctx context.Context, reached func() bool) error {
	for {
		s.mu.Lock()
		ok, change := reached(), s.records.change
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
