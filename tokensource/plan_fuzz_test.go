package tokensource

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// FuzzPlan runs refreshes against a storage and a provider that behave as the input says, and
// checks the promises of the plan:
//
//   - A refresh token is sent only by a process that is alone, or under a mark that was stored.
//     If another process could have written a mark, this process must have seen its own mark stay.
//   - A granted token is stored before it is used, unless the storage failed.
//   - A token past its end is never handed out.
//   - A generation never falls, and a newer record is never overwritten.
//   - Only a person clears a refresh token.
//   - A refresh sends one request, or two if the answer to the first one was lost. It ends.
func FuzzPlan(f *testing.F) {
	for n := range 64 {
		seed := make([]byte, 96)
		for i := range seed {
			seed[i] = byte((i*37 + n*101) * (n + 3))
		}
		f.Add(seed)
	}
	// This storage failed before, and keeps no mark.
	forgetful := []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3}
	forgetful = append(forgetful, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0)
	for range 80 {
		forgetful = append(forgetful, 0, 0, 0, 0, 0, 0, 0, 0, 3)
	}
	f.Add(forgetful)
	f.Fuzz(func(t *testing.T, input []byte) {
		w := newPlanWalk(input)
		if err := w.run(); err != nil {
			t.Fatalf("%v\n%s", err, w.log)
		}
	})
}

// planWalk is one refresh. The input decides what its storage and its provider do.
type planWalk struct {
	*situation
	input []byte
	log   string

	began    *Record // the record known at the start
	others   int     // marks of other processes up to now
	seenMine bool    // true if the last read saw this process's mark
	readLast bool    // true if the record was read, and no step since then gave other processes time
	written  map[*Record]error
}

var (
	errPlanOutage = errors.New("out of reach")
	errPlanBroken = fmt.Errorf("damaged: %w", vault.ErrDamaged)
	planNow       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func newPlanWalk(input []byte) *planWalk {
	w := &planWalk{situation: &situation{}, input: input, written: map[*Record]error{}}
	w.process, w.timeout, w.now, w.stores = "us", 10*time.Second, planNow, !w.flip(16)
	w.rec = w.record(uint64(w.pick(4)))
	w.dirty = w.rec.Generation > 0 && w.flip(4)
	w.live, w.failed, w.lost, w.troubled, w.foreign = w.flip(3), w.flip(3), w.flip(4), w.flip(3), w.flip(2)
	w.claim = [...]claim{unclaimed, unclaimed, claimed, shared}[w.pick(4)]
	w.began = w.rec
	return w
}

// pick returns a number below n. flip is true once in n times. If the input is used up, both read
// zeros.
func (w *planWalk) pick(n int) int {
	if len(w.input) == 0 {
		return 0
	}
	b := w.input[0]
	w.input = w.input[1:]
	return int(b) % n
}

func (w *planWalk) flip(n int) bool { return w.pick(n) == n-1 }

// record returns one of a few records, which differ only in what the plan looks at.
func (w *planWalk) record(generation uint64) *Record {
	rec := &Record{Source: "orders", Generation: generation}
	if generation == 0 {
		return rec
	}
	rec.AccessToken, rec.RefreshToken = NewSecret(fmt.Sprint("at", generation)), NewSecret(fmt.Sprint("rt", generation))
	rec.Obtained = planNow.Add(-time.Hour)
	if w.flip(8) {
		rec.RefreshToken, rec.Obtained = NewSecret("rt-late"), planNow.Add(-time.Minute*time.Duration(w.pick(3)))
	}
	if w.flip(6) {
		rec.Decided = planNow.Add(-time.Minute * time.Duration(w.pick(4)))
		if w.flip(3) {
			rec.Disconnected, rec.AccessToken, rec.RefreshToken = true, Secret{}, Secret{}
			rec.Decided = rec.Decided.Add(time.Second) // no two decisions have the same time
		}
	}
	if w.flip(3) {
		rec.Intent = &Intent{
			Generation: generation, Owner: [...]string{"us", "other"}[w.pick(2)], Losses: w.pick(3), Lost: w.flip(3),
			Since: planNow.Add(time.Duration(w.pick(40)-30) * time.Second),
		}
	}
	return rec
}

func (w *planWalk) storageErr() error {
	return [...]error{nil, nil, nil, nil, errPlanOutage, nil, errPlanOutage, errPlanBroken}[w.pick(8)]
}

func (w *planWalk) run() error {
	for range 300 {
		w.current = w.live && w.flip(4)
		st := plan(w.situation)
		w.log += fmt.Sprintf("%s %v: %s\n", st.verb, st.wait, st.why)
		if st.why == "" {
			return fmt.Errorf("the step %s has no reason", st.verb)
		}
		if err := w.check(st); err != nil {
			return err
		}
		if w.apply(st) {
			return nil
		}
	}
	return errors.New("the refresh does not end")
}

// apply lets the input decide the result of a step, and reports whether it ends the refresh.
func (w *planWalk) apply(st step) (ended bool) {
	w.now = w.now.Add(st.wait + time.Duration(w.pick(4))*100*time.Millisecond)
	if w.flip(32) {
		w.now = w.now.Add(time.Minute) // the process was paused
	}
	switch st.verb {
	case doSleep, doLock, doMark, doAsk, doStore: // another process may store a record meanwhile
		w.readLast = false
	}
	switch st.verb {
	case doRead:
		stored, err := w.inStorage(), w.storageErr()
		w.readLast = err == nil
		if err != nil {
			stored = nil
		}
		w.seenMine = stored != nil && w.mark != nil && w.mark.Intent.Since.Equal(since(stored)) && stored.Intent.Owner == "us"
		w.readRecord(stored, err)
		w.storedLives = stored != nil && !stored.AccessToken.IsZero() && !w.flip(4)
		w.storedFresh = w.storedLives && w.flip(2)
	case doServe:
		w.served, w.live = true, true
	case doPrepare:
		w.prepared, w.request, w.refusal, w.retryAfter = w.rec, &Request{RefreshToken: NewSecret("rt")}, nil, nil
		if !w.stores {
			w.request = &Request{}
		}
		switch w.pick(8) {
		case 0:
			w.refusal = &Error{Class: ClassLogin, Reason: "no login"}
		case 1:
			w.refusal = &Error{Class: ClassOperator, Reason: "no secret"}
		case 2:
			w.request = &Request{}
		}
	case doClaim:
		w.claim = [...]claim{claimed, shared}[w.pick(2)]
	case doLock:
		var barred *Error
		if w.flip(8) {
			barred = &Error{Class: ClassWait, Reason: ErrClaimed.Error(), cause: ErrClaimed}
		}
		w.tookLock(w.flip(3), w.flip(3), barred)
	case doSleep:
		w.slept(st.wait)
	case doMark:
		mark := w.rec.clone()
		mark.Intent = &Intent{Generation: mark.Generation, Owner: "us", Since: w.now.Add(st.wait)}
		w.storedMark(mark, st.wait, w.storageErr(), w.flip(4))
		w.seenMine = false
	case doProbe:
		w.probedWrites(w.storageErr())
	case doAsk:
		w.answer()
	case doStore:
		err := w.storageErr()
		w.written[st.rec] = err
		w.storedRecord(st.rec, err, w.flip(3))
	case doRevoke:
		w.revoked = true
	default:
		return true
	}
	return false
}

// since returns when the mark on rec was stored, or zero if there is none.
func since(rec *Record) time.Time {
	if rec.Intent == nil {
		return time.Time{}
	}
	return rec.Intent.Since
}

// inStorage returns what the storage holds: nothing, the record or the mark of this process, or
// something else.
func (w *planWalk) inStorage() *Record {
	known := w.rec
	if w.mark != nil {
		known = w.mark
	}
	switch w.pick(8) {
	case 0:
		return nil
	case 1, 2, 3, 4:
		return known.clone()
	case 5:
		rec := known.clone()
		if w.others++; w.others > 5 {
			return rec // other processes do not begin requests forever
		}
		rec.Intent = &Intent{Generation: rec.Generation, Owner: "other",
			Since: w.now.Add(-time.Duration(w.pick(20)) * time.Second), Lost: w.flip(3)}
		return rec
	}
	if w.others++; w.others > 5 {
		return known.clone()
	}
	return w.record(uint64(w.pick(8)))
}

func (w *planWalk) answer() {
	before := w.rec
	if w.mark != nil {
		before = w.mark
	}
	var granted *Record
	var failure *Error
	switch w.pick(8) {
	case 0:
		failure = &Error{Class: ClassWait, Reason: "lost", Lost: true}
	case 1:
		failure = &Error{Class: ClassLogin, Reason: "invalid_grant"}
	case 2:
		failure = &Error{Class: ClassWait, Reason: "503"}
	case 3:
		failure = &Error{Class: ClassOperator, Reason: "no access token"}
		fallthrough
	default:
		granted = before.clone()
		granted.Generation++
		granted.Intent, granted.Disconnected = nil, false
		granted.RefreshToken = NewSecret(fmt.Sprint("rt-granted", granted.Generation))
	}
	w.answered(granted, failure)
}

// check checks one step against the promises.
func (w *planWalk) check(st step) error {
	spends := w.request != nil && !w.request.RefreshToken.IsZero()
	switch st.verb {
	case doAsk:
		watch := w.settle > 0 || w.stalled || w.watched > 0 || w.contended || w.withoutLock
		switch {
		case w.asks > 0 && (w.failure == nil || !w.failure.Lost || w.asks > 1):
			return fmt.Errorf("request %d of a refresh", w.asks+1)
		case !spends || w.claim == claimed:
		case !w.lockTried:
			return errors.New("a refresh token is sent without the lock")
		case w.mark == nil || w.markErr != nil:
			return errors.New("a refresh token is sent without a mark, by a process that may not be alone")
		case w.asks > 0 && !w.remarked:
			return errors.New("a refresh token is sent once more under an old mark")
		case w.asks == 0 && watch && !w.seenMine:
			return errors.New("a refresh token is sent under a mark that was not seen to stay")
		case w.asks == 0 && w.now.Sub(w.mark.Intent.Since) > sendWindow:
			return errors.New("a refresh token is sent under a mark that is too old")
		case w.asks == 0 && w.rested < w.settle:
			return fmt.Errorf("a refresh token is sent %v after its mark, which had to stay for %v", w.rested, w.settle)
		}
	case doPublish:
		stored, tried := w.written[st.rec]
		switch {
		case !w.stores:
		case !tried && st.storage == nil && (spends || w.found < same):
			return errors.New("a token is used before it is stored")
		case tried && stored != nil && !st.dirty:
			return errors.New("a record that could not be stored counts as stored")
		}
	case doAdopt:
		if !w.storedFresh || st.rec.AccessToken.IsZero() || st.rec != w.stored {
			return errors.New("a stored token is adopted that cannot be used")
		}
	case doServe:
		if !w.storedLives || st.rec.AccessToken.IsZero() {
			return errors.New("a token past its end is served")
		}
	case doStore:
		// A write that failed soon is repeated at once: no other process took over meanwhile.
		known := w.readLast || w.saves > 0 && w.saveErr != nil && !w.slow
		switch {
		case !known && w.claim != claimed:
			return errors.New("a record is written over that was not read")
		case w.readLast && compare(st.rec, w.stored) >= newer:
			return errors.New("a newer record is written over")
		}
	}
	if st.rec == nil {
		return nil
	}
	if st.rec.Decided.Equal(w.began.Decided) && st.rec.Generation < w.began.Generation {
		return fmt.Errorf("generation %d after %d", st.rec.Generation, w.began.Generation)
	}
	if st.rec.RefreshToken.IsZero() && !w.began.RefreshToken.IsZero() && st.rec.Decided.Equal(w.began.Decided) {
		return errors.New("a refresh token is cleared")
	}
	return nil
}
