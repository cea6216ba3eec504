package tokensourcetest

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// The outcomes of a token request, in addition to the OAuth error codes.
const (
	// OutcomeIssued means that tokens were issued, whether or not the response arrived.
	OutcomeIssued = "issued"
	// OutcomeRepeated means that a token issued earlier was returned again
	// (Config.SameTokenWithin).
	OutcomeRepeated = "repeated"
	// OutcomeUnprocessed means that a fault prevented the request from being carried out, so
	// nothing has changed.
	OutcomeUnprocessed = "unprocessed"
)

// TokenRequest is the record of one request to the token endpoint. It holds secrets. Tests may
// inspect them but should not print them. The record is complete before the client can receive the
// end of the response.
type TokenRequest struct {
	// Number counts the token requests from 1, in the order in which the server finished reading
	// them.
	Number int
	// Arrived is when the request was read, and Processed when it was carried out, by Config.Now.
	// Processed is zero if it was not carried out.
	Arrived, Processed time.Time
	// Owner is the result of Config.Owner.
	Owner string
	// Method, RawQuery, Header and RemoteAddr come from the HTTP request.
	Method, RawQuery, RemoteAddr string
	Header                       http.Header
	// Params are the parameters of body and query together, including credentials. They are empty
	// for a request that was dropped unread.
	Params url.Values
	// Format is where the parameters were.
	Format BodyFormat
	// ClientID and Auth are the client and the method that it tried, as far as the server could
	// tell. Outcome says whether the authentication succeeded.
	ClientID string
	Auth     AuthMethod
	// Grant is the grant_type parameter.
	Grant string
	// Deployment is the deployment to which the request was sent, if the [Provider] has
	// deployments.
	Deployment string

	// Fault is the name of the fault, or empty if there was none.
	Fault string
	// Outcome is [OutcomeIssued], [OutcomeRepeated], [OutcomeUnprocessed] or an error code of RFC
	// 6749 section 5.2. It is empty while the request is under way.
	Outcome string
	// Reuse is true if the request used a refresh token that was spent and past its grace, and
	// thereby revoked the login.
	Reuse bool
	// TokenNumber, AccessToken and RefreshToken describe what the response contained before any
	// fault changed it. They are zero if it contained no tokens.
	TokenNumber               uint64
	AccessToken, RefreshToken string

	// Done is true once the server has finished with the request.
	Done bool
	// Status is the HTTP status that was sent, or 0 if none was sent.
	Status int
	// Whole is true if the server wrote the whole response while the client was still connected, as
	// far as the server could see.
	Whole bool

	arrival, processing int // positions in the order of all events; 0: not happened
}

// records is everything that the server has recorded. Server.mu guards it.
type records struct {
	token  []*TokenRequest
	api    []*APIRequest
	number int           // of the last token request; ForgetRequests does not reset it
	events int           // the last assigned position
	change chan struct{} // closed and replaced when anything changes
	// assertions are the client and jti of each assertion that was accepted.
	assertions map[string]bool
}

func newRecords() records {
	return records{change: make(chan struct{}), assertions: make(map[string]bool)}
}

// event returns the next position in the order of events. The caller holds s.mu.
func (r *records) event() int {
	r.events++
	return r.events
}

// changed wakes all waiting callers. The caller holds s.mu.
func (r *records) changed() {
	close(r.change)
	r.change = make(chan struct{})
}

// clone copies the parts that a caller could otherwise change or see changing.
func (t *TokenRequest) clone() TokenRequest {
	c := *t
	c.Header = t.Header.Clone()
	c.Params = url.Values(http.Header(t.Params).Clone())
	return c
}

// TokenRequests returns all token requests up to now, oldest first, including those still under
// way.
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

// ForgetRequests removes the records of all finished requests, so that a test can count from zero.
// Tokens, numbers and faults stay.
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

// WaitTokenRequests waits until at least n token requests have arrived, answered or not. A request
// that a fault holds counts too. If ctx ends first, it returns the error of ctx.
func (s *Server) WaitTokenRequests(ctx context.Context, n int) error {
	return s.wait(ctx, func() bool { return len(s.records.token) >= n })
}

// WaitAnswered waits until the server has finished with at least n token requests, whether they
// were answered, dropped or cut off.
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
