package tokensource

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite docs/guarantees.md")

// A stage is a situation that a refresh reaches. Each stage begins with the stage before it.
func (s *situation) after(changes ...func(*situation)) *situation {
	for _, change := range changes {
		change(s)
	}
	return s
}

// begun is the situation of a process whose token is due, before it reads anything.
func begun(changes ...func(*situation)) *situation {
	s := &situation{process: "us", timeout: 10 * time.Second, now: planNow, stores: true, live: true, rec: planRecord(5)}
	return s.after(changes...)
}

func planRecord(generation uint64, changes ...func(*Record)) *Record {
	rec := &Record{
		Source: "orders", Generation: generation, Obtained: planNow.Add(-time.Hour),
		AccessToken: NewSecret(fmt.Sprint("at", generation)), RefreshToken: NewSecret(fmt.Sprint("rt", generation)),
	}
	for _, change := range changes {
		change(rec)
	}
	return rec
}

func marked(owner string, age time.Duration, lost bool) func(*Record) {
	return func(rec *Record) {
		rec.Intent = &Intent{Generation: rec.Generation, Owner: owner, Since: planNow.Add(-age), Lost: lost, Losses: 2}
	}
}

func disconnected(rec *Record) {
	rec.Decided, rec.Disconnected, rec.AccessToken, rec.RefreshToken = planNow, true, Secret{}, Secret{}
}

func decidedBefore(rec *Record) { rec.Decided = planNow.Add(-time.Minute) }

// found is a change that reads a stored record, or nil.
func found(rec *Record) func(*situation) {
	return func(s *situation) { s.readRecord(rec, nil) }
}

func unread(err error) func(*situation) {
	return func(s *situation) { s.readRecord(nil, err) }
}

func usable(s *situation) { s.storedFresh, s.storedLives = true, true }
func lives(s *situation)  { s.storedLives = true }
func ended(s *situation)  { s.live = false }
func dirty(s *situation)  { s.dirty = true }

// prepared adds the request of a grant that sends a refresh token.
func prepared(s *situation) {
	s.prepared, s.request = s.rec, &Request{RefreshToken: s.rec.RefreshToken}
}

// unspent adds the request of a grant that sends no refresh token.
func unspent(s *situation) { s.prepared, s.request = s.rec, &Request{} }

// tests makes the refresh test the storage before a person is asked to log in.
func tests(s *situation) { s.probeBeforeLogin = true }

func refuses(class Class) func(*situation) {
	return func(s *situation) { s.prepared, s.refusal = s.rec, &Error{Class: class, Reason: "the grant says no"} }
}

func locked(s *situation) {
	s.tookLock(false, false, nil)
	s.readRecord(planRecord(5), nil)
	prepared(s)
}

func mark(err error, settle time.Duration) func(*situation) {
	return func(s *situation) {
		rec := s.rec.clone()
		marked("us", -settle, false)(rec)
		rec.Intent.Losses = 0
		s.storedMark(rec, settle, err, false)
	}
}

func slept(d time.Duration) func(*situation) { return func(s *situation) { s.slept(d) } }

func probed(err error) func(*situation) { return func(s *situation) { s.probedWrites(err) } }

func saved(err error, slow bool) func(*situation) {
	return func(s *situation) { s.storedRecord(s.rec, err, slow) }
}

// savedGranted is saved for the record that was granted.
func savedGranted(err error, slow bool) func(*situation) {
	return func(s *situation) { s.storedRecord(s.granted, err, slow) }
}

// foundGranted reads the record that was granted.
func foundGranted(s *situation) { s.readRecord(s.granted.clone(), nil) }

func notDue(s *situation) { s.current = true }

func is(c claim) func(*situation) { return func(s *situation) { s.claim = c } }

// answered adds the answer to the token request: a token of generation 6, or a failure.
func answered(failure *Error) func(*situation) {
	return func(s *situation) {
		if failure != nil {
			e := *failure
			s.answered(nil, &e)
			return
		}
		s.answered(planRecord(6), nil)
	}
}

// sent is a refresh that sent its token request under its mark.
func sent(failure *Error, changes ...func(*situation)) *situation {
	s := begun(locked, mark(nil, 0), answered(failure))
	s.live = false
	return s.after(changes...)
}

// ownMark reads the stored record, unchanged since this process stored its mark.
func ownMark(s *situation) { s.readRecord(s.mark.clone(), nil) }

var (
	errLost   = &Error{Class: ClassWait, Reason: "lost", Lost: true}
	errDead   = &Error{Class: ClassLogin, Code: "invalid_grant", Reason: "refused"}
	errFailed = &Error{Class: ClassWait, Reason: "503"}
)

// planRow is one row of the plan: a situation and the next step in it.
type planRow struct {
	name string
	s    *situation
	verb verb
	wait time.Duration // of a sleep or a lock, or from a mark to the request
	// class is the class of the error, if the step fails.
	class Class
	// dirty and unasked belong to a step that ends the refresh. generation is the generation of its
	// record, or of a record to store, if that differs from the known one.
	dirty, unasked bool
	generation     uint64
	reported       bool // the error of the storage is reported, too
}

var planTable = []struct {
	title, about string
	rows         []planRow
}{
	{"Before the request", "A refresh begins when the token in use is due, has ended, or was refused by an upstream.",
		[]planRow{
			{name: "nothing was read yet", s: begun(), verb: doRead},
			{name: "the stored record is damaged, or sealed with an unknown key", s: begun(unread(errPlanBroken)), verb: doFail,
				class: ClassOperator},
			{name: "the storage is out of reach, and no record is known", s: begun(func(s *situation) {
				s.rec = &Record{}
			}, unread(errPlanOutage)), verb: doFail, class: ClassWait, unasked: true},
			{name: "the stored record is of a newer generation, and its token is not due",
				s: begun(found(planRecord(6)), usable), verb: doAdopt, generation: 6},
			{name: "the stored record is of the same generation and was obtained later, and its token is not due",
				s: begun(found(planRecord(5, func(r *Record) {
					r.RefreshToken, r.Obtained = NewSecret("late"), planNow
				})), usable),
				verb: doAdopt},
			{name: "the stored record is of an older generation, but began with a refresh token that was configured since",
				s: begun(found(planRecord(4, func(r *Record) { r.Seed, r.Obtained = "new", planNow })), usable), verb: doAdopt,
				generation: 4},
			{name: "the known record has a mark, the stored one has none any more, and its token is not due",
				s:    begun(func(s *situation) { marked("other", time.Second, false)(s.rec) }, found(planRecord(5)), usable),
				verb: doAdopt},
			{name: "the stored record is newer, its token lives but is due, and no token is in use",
				s: begun(ended, found(planRecord(6)), lives), verb: doServe, generation: 6},
			{name: "the stored record is newer, and its token has ended", s: begun(ended, found(planRecord(6))),
				verb: doPrepare},
			{name: "the stored record is newer, its token lives but is due, and a token is in use",
				s: begun(found(planRecord(6)), lives), verb: doPrepare},
			{name: "the stored record is older than a person's login or logout", s: begun(func(s *situation) {
				s.rec.Decided = planNow
			}, found(planRecord(9, decidedBefore))), verb: doStore},
			{name: "the stored record was older than a person's login or logout, and the known one was stored over it",
				s:    begun(func(s *situation) { s.rec.Decided = planNow }, found(planRecord(9, decidedBefore)), saved(nil, false)),
				verb: doSleep, wait: 250 * time.Millisecond},
			{name: "nothing newer is stored", s: begun(found(planRecord(5))), verb: doPrepare},
			{name: "the grant has no request: a person has to log in", s: begun(found(planRecord(5)), refuses(ClassLogin)),
				verb: doFail, class: ClassLogin},
			{name: "the grant has no request, because a person has to log in, and no earlier attempt failed",
				s: begun(found(planRecord(5)), refuses(ClassLogin), tests), verb: doProbe},
			{name: "the grant has no request, because a person has to log in, and the storage takes no writes",
				s: begun(found(planRecord(5)), refuses(ClassLogin), tests, func(s *situation) {
					s.probedWrites(errPlanOutage)
				}), verb: doFail, class: ClassLogin, reported: true},
			{name: "the grant has a request that sends no refresh token", s: begun(found(planRecord(5)), unspent), verb: doAsk},
			{name: "the request sends a refresh token", s: begun(found(planRecord(5)), prepared), verb: doLock,
				wait: lockTimeout},
			{name: "the request sends a refresh token, and another process's mark was watched until now",
				s: begun(found(planRecord(5)), prepared, func(s *situation) { s.watched = 5 * time.Second }), verb: doLock,
				wait: lockTimeout - 5*time.Second},
			{name: "the request sends a refresh token, and another process's mark was watched for a long time",
				s: begun(found(planRecord(5)), prepared, func(s *situation) { s.watched = time.Minute }), verb: doLock,
				wait: lockRetry},
			{name: "the record cannot be read, and a token lives", s: begun(unread(errPlanOutage), prepared), verb: doFail,
				class: ClassWait, unasked: true},
			{name: "the record cannot be read, no token lives, and another process's record was read before",
				s: begun(ended, unread(errPlanOutage), prepared, func(s *situation) { s.foreign = true }), verb: doFail,
				class: ClassWait, unasked: true},
			{name: "the record cannot be read, no token lives, and no other process ever stored it",
				s: begun(ended, unread(errPlanOutage), prepared), verb: doClaim},
			{name: "the record cannot be read, no token lives, and there are other processes",
				s: begun(ended, unread(errPlanOutage), prepared, is(shared)), verb: doFail, class: ClassWait, unasked: true},
			{name: "the record cannot be read, no token lives, and this process is alone",
				s: begun(ended, unread(errPlanOutage), prepared, is(claimed)), verb: doLock, wait: lockTimeout},
		}},
	{"Under the lock", "The lock is only advisory. A refresh waits for it for 12 seconds, less the time for which it " +
		"watched another process's mark, but for 1.5 seconds at least. If the lock could not be taken the last time, it " +
		"waits for 1.5 seconds. Then it goes on without the lock.", []planRow{
		{name: "the record was not read since the lock was taken",
			s: begun(found(planRecord(5)), prepared, func(s *situation) { s.tookLock(false, false, nil) }), verb: doRead},
		{name: "another process holds a newer refresh token that it could not store", s: begun(locked, func(s *situation) {
			s.barred = &Error{Class: ClassWait, Reason: "claimed", cause: ErrClaimed}
		}), verb: doFail, class: ClassWait, unasked: true},
		{name: "another process held the lock until a moment ago", s: begun(locked, func(s *situation) {
			s.contended = true
		}), verb: doSleep, wait: 500 * time.Millisecond},
		{name: "the stored record has another process's mark, which is not older than a request may take",
			s: begun(locked, found(planRecord(5, marked("other", 3*time.Second, false)))), verb: doProbe},
		{name: "the stored record has another process's mark, which is not older than a request may take, and the storage was tried",
			s: begun(locked, found(planRecord(5, marked("other", 3*time.Second, false))), probed(nil)), verb: doSleep,
			wait: time.Second},
		{name: "the stored record has another process's mark that was watched until it was too old, and the storage took " +
			"no writes meanwhile", s: begun(locked, found(planRecord(5, marked("other", 20*time.Second, false))), prepared,
			probed(errPlanOutage), func(s *situation) { s.watched, s.claim = 12*time.Second, shared }), verb: doMark,
			wait: 7 * time.Second},
		{name: "another process lost an answer a moment ago",
			s: begun(locked, found(planRecord(5, marked("other", 100*time.Millisecond, true))), prepared), verb: doFail,
			class: ClassWait},
		{name: "another process lost an answer a while ago",
			s: begun(locked, found(planRecord(5, marked("other", 20*time.Second, true))), prepared), verb: doMark},
		{name: "the stored record has another process's mark that was watched until it was too old",
			s: begun(locked, found(planRecord(5, marked("other", 20*time.Second, false))), prepared, func(s *situation) {
				s.watched, s.claim = 12*time.Second, shared
			}), verb: doMark, wait: 1500 * time.Millisecond},
		{name: "the stored record has another process's mark that was watched for three seconds, until it was too old",
			s: begun(locked, found(planRecord(5, marked("other", 20*time.Second, false))), prepared, func(s *situation) {
				s.watched, s.claim = 3*time.Second, shared
			}), verb: doMark, wait: 4 * time.Second},
		{name: "the stored record has an old mark of another process that was not watched",
			s: begun(locked, found(planRecord(5, marked("other", time.Minute, false))), prepared, is(shared)), verb: doMark,
			wait: 7 * time.Second},
		{name: "the storage failed in the last refresh, or in this one", s: begun(locked, func(s *situation) {
			s.troubled, s.claim = true, shared
		}), verb: doMark, wait: 7 * time.Second},
		{
			name: "the storage failed in the last refresh, or in this one, and it is not known whether there are other processes", s: begun(locked, func(s *situation) { s.troubled = true }), verb: doClaim},
		{name: "the storage failed in the last refresh, or in this one, and this process is alone",
			s: begun(locked, func(s *situation) { s.troubled, s.claim = true, claimed }), verb: doMark},
		{name: "none of these", s: begun(locked), verb: doMark},
		{name: "five marks of this process did not stay", s: begun(locked, func(s *situation) { s.marks = 5 }), verb: doFail,
			class: ClassWait},
	}},
	{"With the mark", "The mark says whose refresh is under way, and since when. Other processes respect it for as " +
		"long as a request may take.", []planRow{
		{name: "the mark is stored", s: begun(locked, mark(nil, 0)), verb: doAsk},
		{name: "the mark is stored, but another process held the lock, or the lock could not be taken",
			s: begun(locked, func(s *situation) { s.withoutLock = true }, mark(nil, 0)), verb: doSleep,
			wait: 500 * time.Millisecond},
		{name: "the mark has to stay", s: begun(locked, mark(nil, 7*time.Second)), verb: doSleep, wait: time.Second},
		{name: "the mark has to stay, and was stored a second ago",
			s: begun(locked, mark(nil, 7*time.Second), slept(time.Second)), verb: doRead},
		{name: "the mark has to stay, and is still there",
			s: begun(locked, mark(nil, 7*time.Second), slept(time.Second), ownMark), verb: doProbe},
		{name: "the mark has to stay, is still there, and the storage takes writes",
			s: begun(locked, mark(nil, 7*time.Second), slept(time.Second), ownMark, probed(nil)), verb: doSleep,
			wait: time.Second},
		{name: "the mark has to stay, is still there, but the storage takes no writes",
			s: begun(locked, mark(nil, 7*time.Second), slept(time.Second), ownMark, probed(errPlanOutage)), verb: doFail,
			class: ClassWait, unasked: true},
		{name: "the mark stayed for as long as it had to",
			s: begun(locked, mark(nil, 1500*time.Millisecond), slept(1500*time.Millisecond), ownMark, func(s *situation) {
				s.now = planNow.Add(1500 * time.Millisecond)
			}), verb: doAsk},
		{name: "the process was paused since it stored the mark", s: begun(locked, mark(nil, 0), func(s *situation) {
			s.now = planNow.Add(2 * time.Second)
		}), verb: doMark},
		{name: "the process was paused since it stored the mark, for the fifth time",
			s: begun(locked, mark(nil, 0), func(s *situation) { s.now, s.marks = planNow.Add(2*time.Second), 5 }), verb: doFail,
			class: ClassWait},
		{name: "another process's mark replaced it", s: begun(locked, mark(nil, time.Second), slept(time.Second),
			found(planRecord(5, marked("other", 0, false))), probed(nil)), verb: doSleep, wait: time.Second},
		{name: "a newer token replaced it", s: begun(locked, mark(nil, time.Second), slept(time.Second), found(planRecord(6)),
			usable), verb: doAdopt, generation: 6},
		{name: "the record cannot be read any more", s: begun(locked, mark(nil, time.Second), slept(time.Second),
			unread(errPlanOutage)), verb: doFail, class: ClassWait, unasked: true},
		{name: "the storage did not take the mark, and a token lives", s: begun(locked, mark(errPlanOutage, 0)), verb: doFail,
			class: ClassWait, unasked: true},
		{name: "the storage did not take the mark, and no token lives", s: begun(locked, ended, mark(errPlanOutage, 0)),
			verb: doClaim},
		{name: "the storage did not take the mark, no token lives, and there are other processes",
			s: begun(locked, ended, mark(errPlanOutage, 0), is(shared)), verb: doFail, class: ClassWait, unasked: true},
		{name: "the storage did not take the mark, no token lives, and this process is alone",
			s: begun(locked, ended, mark(errPlanOutage, 0), is(claimed)), verb: doAsk},
	}},
	{"After a token was granted", "From the provider's answer until the record is stored, the new refresh token exists " +
		"only in this process.", []planRow{
		{name: "a token was granted", s: sent(nil), verb: doRead},
		{name: "the stored record still has this process's mark", s: sent(nil, ownMark), verb: doStore, generation: 6},
		{name: "the record cannot be read", s: sent(nil, unread(errPlanOutage)), verb: doSleep, wait: 200 * time.Millisecond},
		{name: "the record could not be read three times",
			s: sent(nil, unread(errPlanOutage), unread(errPlanOutage), unread(errPlanOutage)), verb: doPublish, dirty: true,
			generation: 6},
		{name: "the record cannot be read, and this process is alone", s: sent(nil, unread(errPlanOutage), is(claimed)),
			verb: doStore, generation: 6},
		{name: "the record is damaged", s: sent(nil, unread(errPlanBroken)), verb: doPublish, dirty: true, generation: 6},
		{name: "another process stored a newer generation meanwhile", s: sent(nil, found(planRecord(8))), verb: doStore,
			generation: 9},
		{name: "another process began with a newly configured refresh token meanwhile",
			s: sent(nil, found(planRecord(7, func(r *Record) { r.Seed = "new" })), usable), verb: doAdopt, generation: 7},
		{name: "a person connected the account meanwhile", s: sent(nil, found(planRecord(6, decidedBefore)), usable),
			verb: doAdopt},
		{name: "a person connected the account meanwhile, and that token is due",
			s: sent(nil, found(planRecord(6, decidedBefore))), verb: doFail, class: ClassWait, generation: 6},
		{name: "a person disconnected the account meanwhile", s: sent(nil, found(planRecord(6, disconnected))),
			verb: doRevoke, generation: 6},
		{name: "a person disconnected the account meanwhile, and the tokens are revoked",
			s: sent(nil, found(planRecord(6, disconnected)), func(s *situation) { s.revoked = true }), verb: doFail,
			class: ClassLogin, generation: 6},
		{name: "the record is stored", s: sent(nil, ownMark, saved(nil, false)), verb: doPublish},
		{name: "the storage did not take the record", s: sent(nil, ownMark, saved(errPlanOutage, false)), verb: doSleep,
			wait: 200 * time.Millisecond},
		{name: "the storage did not take the record, a moment ago",
			s: sent(nil, ownMark, saved(errPlanOutage, false), slept(200*time.Millisecond)), verb: doStore},
		{name: "the storage did not take the record, and needed longer than a second",
			s: sent(nil, ownMark, savedGranted(errPlanOutage, true), slept(200*time.Millisecond)), verb: doRead},
		{name: "the storage reported an error, but took the record",
			s: sent(nil, ownMark, savedGranted(errPlanOutage, true), slept(200*time.Millisecond), foundGranted), verb: doPublish,
			generation: 6},
		{name: "the storage did not take the record, and another process took over meanwhile",
			s:    sent(nil, ownMark, savedGranted(errPlanOutage, true), slept(200*time.Millisecond), found(planRecord(8))),
			verb: doStore, generation: 9},
		{name: "the storage did not take the record, and still has this process's mark",
			s: sent(nil, ownMark, savedGranted(errPlanOutage, true), slept(200*time.Millisecond), ownMark), verb: doStore,
			generation: 6},
		{name: "the storage did not take the record, and another process was granted a token later",
			s: sent(nil, ownMark, savedGranted(errPlanOutage, true), slept(200*time.Millisecond),
				found(planRecord(7, func(r *Record) { r.Obtained = planNow.Add(time.Minute) })), usable), verb: doAdopt,
			generation: 7},
		{name: "the storage did not take the record three times",
			s:    sent(nil, ownMark, saved(errPlanOutage, false), saved(errPlanOutage, false), saved(errPlanOutage, false)),
			verb: doPublish, dirty: true},
		{name: "the storage took the record, but needed longer than a second", s: sent(nil, ownMark, saved(nil, true)),
			verb: doSleep, wait: 250 * time.Millisecond},
		{name: "the storage took the record, but needed longer than a second, a moment ago",
			s: sent(nil, ownMark, saved(nil, true), slept(250*time.Millisecond)), verb: doRead},
		{name: "the storage took the record, but needed longer than a second, and a mark was written over the record",
			s: sent(nil, ownMark, savedGranted(nil, true), slept(250*time.Millisecond),
				found(planRecord(5, marked("other", 0, false)))), verb: doStore, generation: 6},
		{name: "the storage took the record, but needed longer than a second, after the record could not be read twice",
			s: sent(nil, unread(errPlanOutage), slept(200*time.Millisecond), unread(errPlanOutage),
				slept(200*time.Millisecond), ownMark, savedGranted(nil, true)), verb: doSleep, wait: 250 * time.Millisecond},
		{name: "a refresh token came with an access token that cannot be used, and is stored",
			s: sent(nil, ownMark, saved(nil, false), func(s *situation) { s.failure = errFailed }), verb: doFail,
			class: ClassWait},
	}},
	{"After a failure", "The refresh token may be spent if the answer was lost.", []planRow{
		{name: "the answer was lost for the first time", s: sent(errLost), verb: doSleep, wait: time.Second},
		{name: "the answer was lost for the first time, a second ago", s: sent(errLost, slept(time.Second)), verb: doRead},
		{name: "the stored record still has this process's mark", s: sent(errLost, slept(time.Second), ownMark),
			verb: doMark},
		{name: "the mark is new", s: sent(errLost, slept(time.Second), ownMark, mark(nil, 0)), verb: doAsk},
		{name: "the record cannot be read, and this process is alone",
			s: sent(errLost, slept(time.Second), unread(errPlanOutage), is(claimed)), verb: doAsk},
		{name: "the record cannot be read, and there may be other processes",
			s: sent(errLost, slept(time.Second), unread(errPlanOutage)), verb: doFail, class: ClassWait},
		{name: "the record is damaged", s: sent(errLost, slept(time.Second), unread(errPlanBroken)), verb: doFail,
			class: ClassOperator},
		{name: "another process stored a newer token, which is not due",
			s: sent(errLost, slept(time.Second), found(planRecord(6)), usable), verb: doAdopt, generation: 6},
		{name: "another process's refresh is under way",
			s: sent(errLost, slept(time.Second), found(planRecord(5, marked("other", 0, false)))), verb: doFail,
			class: ClassWait},
		{name: "another process's mark became old meanwhile",
			s: sent(errFailed, found(planRecord(5, marked("other", time.Minute, false)))), verb: doFail, class: ClassWait},
		{name: "the answer was lost twice", s: sent(errLost, answered(errLost), ownMark), verb: doStore},
		{name: "the answer was lost twice, and that is stored",
			s: sent(errLost, answered(errLost), ownMark, saved(nil, false)), verb: doFail, class: ClassWait},
		{name: "the refresh token was refused", s: sent(errDead), verb: doRead},
		{name: "the refresh token was refused, and nothing newer is stored", s: sent(errDead, ownMark), verb: doSleep,
			wait: time.Second},
		{name: "the refresh token was refused, and nothing newer is stored a second later",
			s: sent(errDead, ownMark, slept(time.Second), ownMark), verb: doStore},
		{name: "the refresh token was refused, and another process stored a newer token, which is not due",
			s: sent(errDead, found(planRecord(6)), usable), verb: doAdopt, generation: 6},
		{name: "the refresh token was refused, and the record cannot be read", s: sent(errDead, unread(errPlanOutage)),
			verb: doFail, class: ClassLogin, dirty: true},
		{name: "the provider failed", s: sent(errFailed, ownMark), verb: doStore},
		{name: "the provider failed, and the record without the mark is stored",
			s: sent(errFailed, ownMark, saved(nil, false)), verb: doFail, class: ClassWait},
	}},
	{"A record that could not be stored", "A refresh stores this record first. Without the storage, only a " +
		"process that is alone goes on.", []planRow{
		{name: "the stored record is older", s: begun(dirty, found(planRecord(4))), verb: doStore},
		{name: "the record that waited to be stored is stored now", s: begun(dirty, found(planRecord(4)), saved(nil, false)),
			verb: doSleep, wait: 250 * time.Millisecond},
		{name: "the record was stored a moment ago", s: begun(dirty, found(planRecord(4)), saved(nil, false),
			slept(250*time.Millisecond)), verb: doRead},
		{name: "the record was stored a moment ago, and a mark was written over it",
			s: begun(dirty, found(planRecord(4)), saved(nil, false), slept(250*time.Millisecond),
				found(planRecord(4, marked("other", 0, false))), notDue), verb: doStore},
		{name: "the record was stored again, after a mark had been written over it",
			s: begun(dirty, found(planRecord(4)), saved(nil, false), slept(250*time.Millisecond),
				found(planRecord(4, marked("other", 0, false))), saved(nil, false)), verb: doSleep, wait: 250 * time.Millisecond},
		{name: "the record was stored a moment ago and is still there, and the token is not due",
			s: begun(dirty, found(planRecord(4)), saved(nil, false), slept(250*time.Millisecond),
				found(planRecord(5)), notDue),
			verb: doKeep},
		{name: "the record was stored a moment ago and is still there, and the token is due",
			s:    begun(dirty, found(planRecord(4)), saved(nil, false), slept(250*time.Millisecond), found(planRecord(5))),
			verb: doPrepare},
		{name: "the stored record is newer, and its token is not due", s: begun(dirty, found(planRecord(6)), usable),
			verb: doAdopt, generation: 6},
		{name: "a person disconnected the account, in another process", s: begun(dirty, found(planRecord(6, disconnected))),
			verb: doRevoke},
		{name: "the storage takes no writes, and a token lives",
			s: begun(dirty, found(planRecord(4)), saved(errPlanOutage, false), found(planRecord(4))), verb: doFail,
			class: ClassWait, dirty: true, unasked: true},
		{name: "the storage takes no writes, and no token lives",
			s: begun(ended, dirty, found(planRecord(4)), saved(errPlanOutage, false), found(planRecord(4))), verb: doClaim},
		{name: "the storage takes no writes, no token lives, and this process is alone",
			s: begun(ended, dirty, found(planRecord(4)), saved(errPlanOutage, false), found(planRecord(4)), is(claimed),
				prepared), verb: doLock, wait: lockTimeout},
		{name: "the storage takes no writes, no token lives, and there are other processes",
			s:    begun(ended, dirty, found(planRecord(4)), saved(errPlanOutage, false), found(planRecord(4)), is(shared)),
			verb: doPrepare},
		{name: "the storage takes no writes, no token lives, there are other processes, and the grant needs a person",
			s: begun(ended, dirty, found(planRecord(4)), saved(errPlanOutage, false), found(planRecord(4)), is(shared),
				refuses(ClassLogin)), verb: doFail, class: ClassLogin, dirty: true},
		{name: "the storage takes no writes, no token lives, there are other processes, and the grant needs no person",
			s: begun(ended, dirty, found(planRecord(4)), saved(errPlanOutage, false), found(planRecord(4)), is(shared),
				prepared), verb: doFail, class: ClassWait, dirty: true, unasked: true},
	}},
	{"If no refresh token is sent", "Each process sends its own token request, because no refresh token is used up.", []planRow{
		{name: "the source stores nothing", s: begun(func(s *situation) { s.stores = false }), verb: doPrepare},
		{name: "the source stores nothing, and the grant has a request", s: begun(func(s *situation) {
			s.stores = false
		}, unspent), verb: doAsk},
		{name: "the source stores nothing, and the grant has no request", s: begun(func(s *situation) {
			s.stores = false
		}, refuses(ClassOperator)), verb: doFail, class: ClassOperator},
		{name: "the source stores nothing, and a token was granted", s: begun(func(s *situation) {
			s.stores = false
		}, unspent, answered(nil)), verb: doPublish, generation: 6},
		{name: "the provider refused the client's credentials as if they were a login", s: begun(func(s *situation) {
			s.stores = false
		}, unspent, answered(errDead)), verb: doFail, class: ClassOperator},
		{name: "a token was granted", s: begun(found(planRecord(5)), unspent, answered(nil)), verb: doRead},
		{name: "a token was granted, and nothing newer is stored",
			s: begun(found(planRecord(5)), unspent, answered(nil), found(planRecord(5))), verb: doStore, generation: 6},
		{name: "a token was granted, and the record cannot be read",
			s: begun(found(planRecord(5)), unspent, answered(nil), unread(errPlanOutage)), verb: doPublish, dirty: true,
			generation: 6},
		{name: "a token was granted, and a newer record is stored",
			s: begun(found(planRecord(5)), unspent, answered(nil), found(planRecord(7))), verb: doPublish, generation: 6},
		{name: "a token was granted, and a person disconnected the account",
			s: begun(found(planRecord(5)), unspent, answered(nil), found(planRecord(7, disconnected))), verb: doRevoke,
			generation: 6},
		{name: "the granted token is stored", s: begun(found(planRecord(5)), unspent, answered(nil), found(planRecord(5)),
			saved(nil, false)), verb: doPublish},
		{name: "the granted token could not be stored", s: begun(found(planRecord(5)), unspent, answered(nil),
			found(planRecord(5)), saved(errPlanOutage, false)), verb: doPublish, dirty: true},
	}},
}

func TestPlan(t *testing.T) {
	for _, section := range planTable {
		for _, row := range section.rows {
			t.Run(section.title+"/"+row.name, func(t *testing.T) {
				st := plan(row.s)
				if st.verb != row.verb || st.wait != row.wait {
					t.Fatalf("the step is %s %v (%s), want %s %v", st.verb, st.wait, st.why, row.verb, row.wait)
				}
				if (st.err == nil) != (row.class == "") || st.err != nil && st.err.Class != row.class {
					t.Errorf("the error is %v, want class %q", st.err, row.class)
				}
				if row.reported && st.storage == nil {
					t.Error("the step has no error of the storage")
				}
				if st.dirty != row.dirty || st.unasked != row.unasked {
					t.Errorf("dirty %t, unasked %t; want %t, %t", st.dirty, st.unasked, row.dirty, row.unasked)
				}
				if row.generation != 0 && st.rec.Generation != row.generation {
					t.Errorf("the record is of generation %d, want %d", st.rec.Generation, row.generation)
				}
			})
		}
	}
}

// Every step that the plan can take has a row in the table: each reason in plan.go is the reason of
// a row.
func TestPlanTableIsComplete(t *testing.T) {
	rows := make(map[string]bool)
	for _, section := range planTable {
		for _, row := range section.rows {
			rows[plan(row.s).why] = true
			if strings.HasPrefix(row.name, "the same") {
				t.Errorf("the name of the row %q is not whole: the page is read by rows", row.name)
			}
		}
	}
	for _, reason := range planReasons(t) {
		if !rows[reason] {
			t.Errorf("no row of the table has the reason %q", reason)
		}
	}
}

// planReasons returns the texts in plan.go that can be the reason of a step.
func planReasons(t *testing.T) (reasons []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "plan.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text func(e ast.Expr) string
	text = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			part, _ := strconv.Unquote(e.Value)
			return part
		case *ast.BinaryExpr:
			return text(e.X) + text(e.Y)
		}
		return ""
	}
	add := func(e ast.Expr) {
		if reason := text(e); reason != "" {
			reasons = append(reasons, reason)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "why" {
				add(n.Value)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && slices.Contains([]string{"failUnasked", "follow", "end"}, f.Name) {
				add(n.Args[len(n.Args)-1])
			}
		}
		return true
	})
	if len(reasons) < 60 {
		t.Fatalf("found %d reasons in plan.go", len(reasons))
	}
	return reasons
}

// docs/guarantees.md is made from the table.
func TestGuarantees(t *testing.T) {
	const path = "../docs/guarantees.md"
	want := guarantees()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/guarantees.md is not what the plan's table says: make golden")
	}
}

func guarantees() string {
	var b strings.Builder
	b.WriteString(guaranteesHead)
	for _, section := range planTable {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| situation | step | reason |\n|---|---|---|\n", section.title, section.about)
		for _, row := range section.rows {
			st := plan(row.s)
			fmt.Fprintf(&b, "| %s | %s | %s |\n", row.name, planStep(st), st.why)
		}
	}
	return b.String()
}

const guaranteesHead = `# What a refresh guarantees

One function, ` + "`plan`" + ` in ` + "`tokensource/plan.go`" + `, decides each step of a refresh. This page is generated from the table of its test. The word in brackets is the [class](failures.md) of an error.

- **Two processes do not send the same refresh token at the same time,** with one exception. Before a process sends a refresh token, it stores a write-ahead mark. If another process could have stored a mark too, it reads the record again, and sends only if its own mark is still there. Without a mark, a process sends only if it is alone. The exception is a process that is paused. Then the time for its token request may end before it has stored the answer, and another process may send the same refresh token. Or it may overwrite a newer record, because a storage has no compare-and-swap.
- **After a process stopped or lost an answer, the refresh token is sent again,** by that process or another one: for some seconds, many providers accept it once more.
- **A granted token is stored before it is used**, unless the source stores nothing, the stored record is damaged, or the storage fails. If it cannot be stored, the token is kept in memory, and stored as soon as the storage accepts it.
- **A token past its end is never handed out**, with two exceptions. The first is about a second after the process was paused or the machine was suspended. The second is a token that is read from the storage: its end counts by the wall clock. If that clock was set back since the token was granted, or is behind the clock of the process that stored the token, the token can be handed out for that much longer.
- **A generation never falls**, unless the operator configures another refresh token. Each record is read before it is written. If another process stored a newer generation during a token request, the granted record gets a higher generation and replaces it, unless a person decided meanwhile.
- **Only a person clears a refresh token.** A refused refresh token is kept, but not sent again.
- **At most two token requests for each refresh.** A refresh sends one token request. If its answer is lost, the refresh sends the request once more, unless a Retry-After or a failure of the previous refresh forbids that. A request that the provider refuses because of its client secret or of a DPoP nonce is sent again with the next secret or the new nonce: the refresh token is still unused then. A refresh that failed is tried again after a pause.

A fuzz test checks these rules in random situations. A simulation (` + "`make simulate`" + `) checks them with several processes, a strict provider and random faults.
`

// planStep returns a step in words.
func planStep(st step) string {
	switch st.verb {
	case doRead:
		return "read the record"
	case doServe:
		return "use the stored token, and go on"
	case doPrepare:
		return "ask the grant for the request"
	case doClaim:
		return "ask the storage whether this process is alone"
	case doLock:
		return fmt.Sprintf("take the lock, wait for it %v at most", st.wait)
	case doSleep:
		return fmt.Sprintf("wait %v", st.wait)
	case doMark:
		if st.wait > 0 {
			return fmt.Sprintf("store the mark, send the request %v later", st.wait)
		}
		return "store the mark"
	case doProbe:
		return "try whether the storage takes writes"
	case doAsk:
		return "send the request"
	case doStore:
		return "store the record"
	case doRevoke:
		return "revoke the tokens"
	case doAdopt:
		return "end: use the stored token"
	case doPublish:
		return "end: use the token that was granted"
	case doKeep:
		return "end: keep the token in use"
	}
	return fmt.Sprintf("end: fail (`%s`)", st.err.Class)
}
