package tokensource

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A source whose grant is an [Exchanger] has one account for each subject: for each token of a
// caller that was seen lately. Such an account is refreshed, shared, refused and dropped when idle
// like any other. Three things are different. It is never stored and never listed. Its token ends
// with the subject at the latest. And the number of such accounts is limited, because callers
// choose it.

// Exchanger is a [Grant] that exchanges the token of each caller for another token (RFC 8693). Its
// source has no token of its own: see [Source.Exchange].
type Exchanger interface {
	Grant
	// Exchange returns the token request for a caller with that subject token. It is called for
	// each token request, and not for each request of the caller. Put the subject token into
	// [Request.Secrets].
	Exchange(ctx context.Context, subject Secret) (Request, error)
}

const (
	// maxSubjects is how many subjects a source keeps in memory. If there are more, it drops
	// subjects that are not in use at the moment.
	maxSubjects = 20_000
	// maxSubject bounds the length of a subject token in bytes.
	maxSubject = 32 << 10
	// opaqueLifetime bounds the lifetime of a token whose subject does not say when it ends.
	opaqueLifetime = 5 * time.Minute
)

const (
	noSubjectReason      = "the request has no token to exchange"
	noCallerReason       = "the source exchanges the token of each caller and has none of its own"
	subjectEndedReason   = "the caller's token has ended"
	subjectRefusedReason = "the provider refuses the caller's token"
)

// subject is the token of a caller.
type subject struct {
	token Secret
	// end is the exp claim of a JWT, or zero. Nothing is verified: the claim may shorten the life
	// of a token here, and never extends it.
	end time.Time
}

// Exchanges reports whether each caller's own token is exchanged for another. Then the source has
// no token of its own.
func (s *Source) Exchanges() bool { return s.exchanges }

// Exchange returns the account of the caller who presents that token. Its [Account.Token] is what
// the provider grants for the subject token. The provider validates the subject token. Exchange
// itself refuses only text that cannot be a token, and a JWT whose exp has passed. Its error is an
// [*Error]; [Error.Subject] is true if the caller is at fault.
func (s *Source) Exchange(ctx context.Context, token Secret) (*Account, error) {
	refuse := func(reason string) (*Account, error) {
		return nil, &Error{Source: s.cfg.Name, Class: ClassLogin, Subject: true, Reason: reason}
	}
	switch {
	case !s.exchanges:
		return nil, &Error{Source: s.cfg.Name, Class: ClassOperator, Reason: "the source's grant exchanges no tokens"}
	case token.IsZero():
		return refuse(noSubjectReason)
	case len(token.Reveal()) > maxSubject:
		return refuse(noSubjectReason + ": what it holds is longer than 32 KiB")
	case !isSendable(token.Reveal()):
		return refuse(noSubjectReason + ": what it holds has a space, a control character or a character outside ASCII")
	}
	key := s.subjectKey(ctx, token)
	if e := s.find(key); e != nil {
		if e.subject.ended(s.cfg.Clock.Now()) {
			return refuse(subjectEndedReason)
		}
		return &e.Account, nil
	}
	sub := &subject{token: token, end: jwtTime(token, "exp")}
	if sub.ended(s.cfg.Clock.Now()) {
		return refuse(subjectEndedReason)
	}
	if !s.makeRoom() {
		return nil, &Error{Source: s.cfg.Name, Class: ClassWait, Reason: "too many callers have token requests under way"}
	}
	return &Account{src: s, name: key, subject: sub}, nil
}

// subjectKey returns the name of the account of a subject: a keyed digest of the subject, and of
// the scopes and parameters of its token request. Only this process has the key of the digest, so
// that the name says nothing about the token.
func (s *Source) subjectKey(ctx context.Context, token Secret) string {
	mac := hmac.New(sha256.New, s.subjectMAC)
	for _, part := range []string{token.Reveal(), s.settings(ctx)} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func (sub *subject) ended(now time.Time) bool { return !sub.end.IsZero() && !now.Before(sub.end) }

// limit returns the end of a token that was granted at now for the subject, and that ends at expiry
// by itself; zero means that it has no end.
func (sub *subject) limit(now, expiry time.Time) time.Time {
	end := sub.end
	if end.IsZero() {
		end = now.Add(opaqueLifetime)
	}
	if expiry.IsZero() || end.Before(expiry) {
		return end
	}
	return expiry
}

// exchange returns the token request for the account's subject.
func (a *account) exchange(ctx context.Context) (Request, error) {
	sub := a.subject
	if sub.ended(a.src.cfg.Clock.Now()) {
		return Request{}, &Error{Class: ClassLogin, Subject: true, Reason: subjectEndedReason}
	}
	return a.src.cfg.Grant.(Exchanger).Exchange(ctx, sub.token)
}

// subjectCodes are the error codes by which a provider refuses the subject. RFC 8693 section 2.2.2
// prescribes invalid_request; most providers answer invalid_grant or invalid_token.
var subjectCodes = []string{"invalid_grant", "invalid_token", "expired_token"}

// blame decides who has to act on the failure of an exchange.
func (a *account) blame(req Request, failure *Error) {
	byCode := slices.Contains(subjectCodes, failure.Code) || codes[failure.Code] == meansPerson ||
		failure.Code == "invalid_request" && req.Params.Get("grant_type") == grantTypeTokenExchange
	if byCode && failure.Status >= 400 && failure.Status < 500 {
		failure.Class, failure.Subject, failure.Reason = ClassLogin, true, subjectRefusedReason
	}
	if failure.Class == ClassLogin && !failure.Subject {
		failure.Class = ClassOperator // there is no account that a person could connect
	}
}

// makeRoom drops subjects that are not in use if there are too many. It returns false if all are in
// use.
func (s *Source) makeRoom() bool {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	if s.accounts.size < subjectsLimit {
		return true
	}
	enough := subjectsLimit - subjectsLimit/8 // so that the next drop is some time away
	for _, lively := range []bool{false, true} {
		for _, a := range s.accounts.all() {
			if s.accounts.size <= enough {
				return true
			}
			if a.isDisposable(lively) {
				s.accounts.remove(a.name)
			}
		}
	}
	return s.accounts.size < subjectsLimit
}

// subjectsLimit is maxSubjects, unless a test sets it.
var subjectsLimit = maxSubjects

// isDisposable reports whether a subject's account can be dropped at the cost of one more token
// request. If lively is false, an account that has a live token cannot be dropped.
func (a *account) isDisposable(lively bool) bool {
	if a.users.Load() > 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refreshing == nil && (lively || a.cur.Load().token(a.src.cfg.Clock) == nil)
}

// outage is the failure of the last exchange that had nothing to do with its subject: the provider
// cannot be reached, refuses the client, or says how long to wait. During an outage, all subjects
// together send only as many requests as one account. A refused token of a caller is not an outage. A
// Retry-After holds for all callers, because most limits are the client's.
type outage struct {
	mu     sync.Mutex
	failed *failed
}

// inForce returns the failure of a request that must not be sent yet, or nil.
func (o *outage) inForce(c Clock) *Error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil || c.passed(o.failed.until) {
		return nil
	}
	known := *o.failed.err
	known.untold = true
	return &known
}

// note notes how an exchange ended.
func (o *outage) note(c Clock, failure *Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case failure == nil:
		o.failed = nil
	case !failure.isOutage():
	case o.failed == nil || c.passed(o.failed.until):
		f := &failed{err: failure, attempts: 1}
		if o.failed != nil {
			f.attempts += o.failed.attempts
		}
		delay := f.pause(false, false, false, c.Now())
		own := *failure
		own.RetryAt = c.Now().Round(0).Add(delay)
		f.err, f.until = &own, c.in(delay)
		o.failed = f
	}
}

// last returns the failure of the current outage, or nil, and the number of its failures in a row.
func (o *outage) last() (*Error, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil {
		return nil, 0
	}
	return o.failed.err, o.failed.attempts
}

// isOutage reports whether a failure has nothing to do with the subject.
func (e *Error) isOutage() bool {
	notAnswered := e.Status == 0 && !e.Lost && !e.Subject
	told := !e.RetryAt.IsZero() && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable)
	return notAnswered || told || e.RefusesClient() ||
		slices.Contains([]string{"unauthorized_client", "unsupported_grant_type"}, e.Code)
}
