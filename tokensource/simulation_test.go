package tokensource_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The simulation runs several processes on one storage. Their provider replaces every refresh
// token, and revokes the login when an old refresh token comes back. One seed decides the faults:
// kills, pauses, restarts, reloads, slow and lost answers, a provider in trouble, a storage that
// fails, hangs or loses a lock. Time is virtual, so hours take seconds. After each step these
// invariants are checked:
//
//   - No refresh token is sent twice, unless the answer to the first request reached no living
//     process.
//   - No token is handed out past its end.
//   - A granted token is stored before it is used, unless the storage failed.
//   - When the faults end, every process serves again.
//
// A failure prints its seed. This command runs the same faults again: go test -run Simulation
// -sim.seed N.
var (
	simSeed  = flag.Uint64("sim.seed", 0, "run this seed of the simulation alone, and print what happens")
	simSeeds = flag.Int("sim.seeds", 60, "how many seeds the simulation runs, from 1")
	simSteps = flag.Int("sim.steps", 150, "how many steps each seed has")
)

func TestSimulation(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one order for everything that happens at the same moment
	if *simSeed != 0 {
		simulate(t, *simSeed)
		return
	}
	var total simCount
	began := time.Now()
	for seed := uint64(1); seed <= uint64(*simSeeds) && !t.Failed(); seed++ {
		total.add(simulate(t, seed))
	}
	t.Logf("%d seeds in %v: %v", *simSeeds, time.Since(began).Round(time.Millisecond), total)
	if !t.Failed() && (total.refreshes < 10**simSeeds || total.served == 0 || total.kills == 0 || total.outages == 0 ||
		total.inevitable == 0) {
		t.Errorf("the simulation tries too little: %v", total)
	}
}

// A seed always runs the same faults and requests.
func TestSimulationReplays(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for seed := uint64(1); seed <= 5; seed++ {
		if a, b := simulate(t, seed), simulate(t, seed); a != b {
			t.Errorf("seed %d: first %v, then %v", seed, a, b)
		}
	}
}

// simCount counts what happened in a run.
type simCount struct {
	refreshes, served, refused, kills, pauses, outages, lost, inevitable int
	digest                                                               uint64 // of all events
}

func (c *simCount) add(o simCount) {
	c.refreshes += o.refreshes
	c.served += o.served
	c.refused += o.refused
	c.kills += o.kills
	c.pauses += o.pauses
	c.outages += o.outages
	c.lost += o.lost
	c.inevitable += o.inevitable
}

func (c simCount) String() string {
	return fmt.Sprintf("%d refreshes, %d requests served, %d told to wait, %d kills, %d pauses, %d outages of the "+
		"storage, %d answers lost, %d lock-outs, none avoidable",
		c.refreshes, c.served, c.refused, c.kills, c.pauses, c.outages, c.lost, c.inevitable)
}

const simTimeout = 10 * time.Second // of a token request; the default

// sim is one run.
type sim struct {
	*draws
	t    *testing.T
	seed uint64

	mu     sync.Mutex
	count  simCount
	began  time.Time
	events []string

	storage  simStorage
	provider simProvider
	all      []*instance
	slots    [5]*instance // the running processes
	login    string       // the configured refresh token

	ends sync.WaitGroup // the processes that were killed or told to end
}

func simulate(t *testing.T, seed uint64) (count simCount) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &sim{draws: newDraws(seed, 0), t: t, seed: seed, began: time.Now()}
		defer tokensource.SetRandom(func() float64 {
			return newDraws(seed, uint64(time.Now().UnixNano())).rng.Float64()
		})()
		s.run()
		count = s.count
		digest := fnv.New64a()
		for _, e := range slices.Sorted(slices.Values(s.events)) { // at the same moment, any order is the same
			_, _ = io.WriteString(digest, e)
		}
		count.digest = digest.Sum64()
		if t.Failed() || *simSeed != 0 {
			first := max(len(s.events)-400, 0)
			t.Logf("seed %d; the last events:\n%s", seed, strings.Join(s.events[first:], "\n"))
		}
	})
	return count
}

func (s *sim) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, fmt.Sprintf("%10.3f ", time.Since(s.began).Seconds())+fmt.Sprintf(format, args...))
}

func (s *sim) fail(format string, args ...any) {
	s.note("VIOLATION: "+format, args...)
	s.t.Errorf("seed %d: "+format, append([]any{s.seed}, args...)...)
}

// draws are the random numbers of one seed. The main loop has its own draws, and so has each call of a
// process. So the order of what happens at one moment changes nothing.
type draws struct{ rng *rand.Rand }

func newDraws(seed, stream uint64) *draws {
	return &draws{rng: rand.New(rand.NewPCG(seed, stream))}
}

// chance is true with probability p.
func (d *draws) chance(p float64) bool {
	return d.rng.Float64() < p
}

// between returns a random duration. Its nanoseconds keep two events from happening at the same
// moment.
func (d *draws) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.rng.Int64N(int64(high-low)))
}

func (d *draws) pick(n int) int {
	return d.rng.IntN(n)
}

func (s *sim) run() {
	s.storage = simStorage{sim: s, values: map[string][]byte{}, locks: map[string]*instance{}, directory: s.chance(0.5),
		noLocks: s.chance(0.25), stored: map[string]time.Time{}}
	s.provider = simProvider{sim: s, spent: map[string]*spent{}, lifetime: s.between(4*time.Second, 90*time.Second)}
	if s.chance(0.3) {
		s.provider.grace = s.between(time.Second, 20*time.Second)
	}
	s.relogin()
	for i := range s.slots {
		s.start(i)
	}
	for range *simSteps {
		if s.t.Failed() {
			break
		}
		s.step()
		virtual.Advance(s.between(time.Millisecond, s.provider.lifetime/4))
		if s.provider.isRevoked() {
			s.relogin()
		}
	}
	s.calm()
	for _, in := range s.all {
		in.resume()
		if err := in.src.Close(context.Background()); err != nil && !in.isDead() {
			s.fail("%s does not end: %v", in.name, err)
		}
	}
	s.ends.Wait()                // a process that was paused ends only now
	virtual.Advance(time.Second) // reads for which a paused process did not wait end
}

// step begins or ends one fault, or sends requests.
func (s *sim) step() {
	i := s.pick(len(s.slots))
	in := s.slots[i]
	switch p := s.pick(100); {
	case p < 6:
		s.note("%s is killed", in.name)
		s.count.kills++
		in.kill()
		s.start(i)
	case p < 9:
		s.note("%s is told to end", in.name)
		in.resume()
		in.end()
		s.start(i)
	case p < 12:
		s.note("%s reloads", in.name)
		s.start(i)
		in.end()
	case p < 18:
		s.note("%s is stopped", in.name)
		s.count.pauses++
		in.pause()
	case p < 30:
		in.resume()
	case p < 36:
		s.count.outages++
		s.storage.fail(s.pick(4))
	case p < 50:
		s.storage.fail(0)
	case p < 54:
		s.storage.dropLocks()
	case p < 60:
		s.provider.trouble(float64(s.pick(10))/10, s.between(0, 2*simTimeout))
	case p < 75:
		s.provider.trouble(0, 0)
	}
	for _, in := range s.slots {
		if in.isPaused() {
			continue
		}
		for range 1 + s.pick(3) {
			go in.use()
		}
	}
}

// calm ends all faults and waits until every process serves again.
func (s *sim) calm() {
	s.note("all faults end")
	s.storage.fail(0)
	s.storage.dropLocks()
	s.provider.trouble(0, 0)
	for _, in := range s.slots {
		in.resume()
	}
	for end := time.Now().Add(3 * time.Minute); !s.t.Failed(); virtual.Advance(s.between(500*time.Millisecond,
		time.Second)) {
		if s.provider.isRevoked() {
			s.relogin()
		}
		serving := 0
		for _, in := range s.slots {
			go in.use()
		}
		synctest.Wait()
		for _, in := range s.slots {
			if in.src.Account("").Status().Live {
				serving++
			}
		}
		if serving == len(s.slots) {
			return
		}
		if time.Now().After(end) {
			s.fail("%d of %d processes serve three minutes after the last fault", serving, len(s.slots))
		}
	}
}

// relogin configures the refresh token of a new login.
func (s *sim) relogin() {
	token := s.provider.newLogin()
	s.mu.Lock()
	s.login = token
	s.mu.Unlock()
	s.note("a person logs in: %s", token)
}

func (s *sim) configured(context.Context) (tokensource.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tokensource.NewSecret(s.login), nil
}

// instance is one process, or its successor after a reload.
type instance struct {
	sim  *sim
	name string
	src  *tokensource.Source

	mu      sync.Mutex
	dead    bool
	ending  bool
	stopped chan struct{}  // closed when the process goes on; nil while it runs
	stops   [][2]time.Time // earlier stops, from and until
	since   time.Time
	read    time.Time // when it last read the storage
}

// draw returns the draws of a call that this process makes now.
func (in *instance) draw(call string) *draws {
	stream := fnv.New64a()
	_, _ = fmt.Fprintln(stream, in.name, call, time.Now().UnixNano())
	return newDraws(in.sim.seed, stream.Sum64())
}

func (in *instance) lastRead() time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.read
}

func (s *sim) start(slot int) {
	in := &instance{sim: s, name: fmt.Sprintf("p%d.%d", slot, len(s.all))}
	src, err := tokensource.New(tokensource.Config{
		Name: "orders", Grant: tokensource.RefreshToken{Initial: s.configured}, TokenURL: tokenURL, ClientID: "orders-client",
		ClientSecrets: []tokensource.Value{tokensource.Literal(clientSecret)},
		Storage:       &view{in}, Transport: &client{in}, Timeout: simTimeout, DPoP: s.dpop(),
		Observer: func(e tokensource.Event) {
			if e.Err != nil {
				s.note("%s: %s: %v", in.name, e.Kind, e.Err)
			} else {
				s.note("%s: %s, generation %d", in.name, e.Kind, e.Generation)
			}
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	in.src = src
	s.all, s.slots[slot] = append(s.all, in), in
	s.note("%s starts", in.name)
	_ = (&view{in}).Enter()
	src.Warm()
}

// dpop is the option of that name. Half of the seeds use it.
func (s *sim) dpop() string {
	if s.seed%2 == 0 {
		return "ES256"
	}
	return ""
}

// kill ends the process at once. Nothing that it does afterwards has an effect.
func (in *instance) kill() {
	in.mu.Lock()
	in.dead = true
	in.mu.Unlock()
	in.resume()
	in.sim.storage.died(in)
	in.end()
}

// end closes the source, which tries once more to store its record.
func (in *instance) end() {
	in.mu.Lock()
	in.ending = true
	in.mu.Unlock()
	in.sim.ends.Go(func() { _ = in.src.Close(context.Background()) })
}

// isGone reports whether the process was killed or told to end, so that a record which it could not
// store is lost.
func (in *instance) isGone() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dead || in.ending
}

func (in *instance) isDead() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dead
}

func (in *instance) pause() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped == nil {
		in.stopped, in.since = make(chan struct{}), time.Now()
	}
}

func (in *instance) resume() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped != nil {
		close(in.stopped)
		in.stopped, in.stops = nil, append(in.stops, [2]time.Time{in.since, time.Now()})
	}
}

func (in *instance) isPaused() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.stopped != nil
}

// stoodStill returns the longest time for which the process was stopped since then.
func (in *instance) stoodStill(since time.Time) (longest time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	stops := in.stops
	if in.stopped != nil {
		stops = append(slices.Clone(stops), [2]time.Time{in.since, time.Now()})
	}
	for _, stop := range stops {
		if stop[1].After(since) {
			longest = max(longest, stop[1].Sub(stop[0]))
		}
	}
	return longest
}

// runs waits while the process is stopped, and reports whether the process lives.
func (in *instance) runs() bool {
	in.mu.Lock()
	stopped := in.stopped
	in.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
	return !in.isDead()
}

// use sends a request of a client.
func (in *instance) use() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tok, err := in.src.Token(ctx)
	if in.isDead() || in.isPaused() {
		return
	}
	in.sim.mu.Lock()
	if err != nil {
		in.sim.count.refused++
	} else {
		in.sim.count.served++
	}
	in.sim.mu.Unlock()
	if err != nil {
		return
	}
	if late := time.Since(tok.Expiry); late >= 0 {
		in.sim.fail("%s handed out token %s %v past its end", in.name, tok.AccessToken(), late)
	}
	in.sim.provider.used(in, tok.AccessToken())
}

// errSim is the error of a simulated fault.
var errSim = errors.New("simulated failure")

// Kinds of storage failures; 0 means none.
const (
	storageAway = 1 + iota
	storageHangs
	storageReadOnly
)

// simStorage is the storage that all processes share.
type simStorage struct {
	*sim
	directory bool // it knows which processes use it
	noLocks   bool // every lock is refused

	mu       sync.Mutex
	values   map[string][]byte
	locks    map[string]*instance
	kind     int
	failedAt time.Time            // when it last failed
	stored   map[string]time.Time // refresh tokens that were ever stored, and when first
	fellAt   time.Time            // when a process that was paused since it read wrote over a newer record
	entered  map[*instance]bool
	claimed  *instance
}

func (st *simStorage) fail(kind int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if kind != st.kind {
		st.note("storage: %s", [...]string{"works", "is away", "hangs", "is read-only"}[kind])
	}
	if st.kind != 0 {
		st.failedAt = time.Now()
	}
	st.kind = kind
}

// lastFailure returns when the storage last failed.
func (st *simStorage) lastFailure() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.kind != 0 {
		return time.Now()
	}
	return st.failedAt
}

// fell is when a process that was paused wrote over a newer record.
func (st *simStorage) fell() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.fellAt
}

// wasStored reports whether a refresh token was stored by then.
func (st *simStorage) wasStored(refresh string, then time.Time) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	at := st.stored[refresh]
	return !at.IsZero() && !at.After(then)
}

func (st *simStorage) dropLocks() {
	st.mu.Lock()
	defer st.mu.Unlock()
	clear(st.locks)
}

// died does what other processes see of a process that was killed: its locks become stale after a
// while.
func (st *simStorage) died(in *instance) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.entered, in)
	if st.claimed == in {
		st.claimed = nil
	}
	time.AfterFunc(10*time.Second, func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		for name, holder := range st.locks {
			if holder == in {
				delete(st.locks, name)
			}
		}
	})
}

// view is the storage as one process sees it.
type view struct{ in *instance }

// seen logs what a process reads and writes, if only one seed runs.
func (v *view) seen(what, key string, value []byte, err error) {
	if *simSeed == 0 {
		return
	}
	if err != nil {
		v.in.sim.note("  %s %s %.12s: %v", v.in.name, what, key[len(key)-18:], err)
		return
	}
	v.in.sim.note("  %s %s %.12s: %s", v.in.name, what, key[len(key)-18:], recordParts.FindAllString(string(value), -1))
}

// generationOf is the generation of a stored record; 0 without one.
func generationOf(value []byte) (n uint64) {
	if found := generation.FindSubmatch(value); found != nil {
		n, _ = strconv.ParseUint(string(found[1]), 10, 64)
	}
	return n
}

var generation = regexp.MustCompile(`"generation":(\d+)`)

var recordParts = regexp.MustCompile(`"(?:generation|refresh_token|owner|since|lost)":[^,}]*`)

var refreshTokens = regexp.MustCompile(`rt-\d+-\d+`)

const simLoad = "load" // the call that only reads

// do delays one call to the storage, and makes it fail if it must fail.
func (v *view) do(ctx context.Context, call string, f func(st *simStorage) error) error {
	in := v.in
	if !in.runs() {
		return errSim
	}
	virtual.Sleep(in.draw(call).between(time.Microsecond, 5*time.Millisecond))
	if !in.runs() {
		return errSim
	}
	st := &in.sim.storage
	st.mu.Lock()
	kind := st.kind
	if kind == 0 || kind == storageReadOnly && call == simLoad {
		defer st.mu.Unlock()
		return f(st)
	}
	st.mu.Unlock()
	if kind == storageHangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return errSim
}

func (v *view) Load(ctx context.Context, key string) (value []byte, err error) {
	err = v.do(ctx, simLoad, func(st *simStorage) error {
		found, ok := st.values[key]
		if !ok {
			return fs.ErrNotExist
		}
		value = bytes.Clone(found)
		v.in.mu.Lock()
		v.in.read = time.Now()
		v.in.mu.Unlock()
		return nil
	})
	v.seen("reads", key, value, err)
	return value, err
}

func (v *view) Store(ctx context.Context, key string, value []byte) error {
	err := v.do(ctx, "store", func(st *simStorage) error {
		if generationOf(value) < generationOf(st.values[key]) && time.Since(v.in.lastRead()) > time.Second {
			st.fellAt = time.Now()
		}
		st.values[key] = bytes.Clone(value)
		for _, token := range refreshTokens.FindAllString(string(value), -1) {
			if st.stored[token].IsZero() {
				st.stored[token] = time.Now()
			}
		}
		return nil
	})
	v.seen("stores", key, value, err)
	return err
}

func (v *view) Delete(ctx context.Context, key string) error {
	return v.do(ctx, "delete", func(st *simStorage) error {
		delete(st.values, key)
		return nil
	})
}

func (v *view) List(context.Context, string, bool) ([]string, error) { return nil, errSim }

func (v *view) Lock(ctx context.Context, name string) error {
	if v.in.sim.storage.noLocks {
		return errSim
	}
	for {
		var got bool
		err := v.do(ctx, "lock", func(st *simStorage) error {
			if _, taken := st.locks[name]; !taken {
				st.locks[name], got = v.in, true
			}
			return nil
		})
		if got || err != nil {
			return err
		}
		retry := time.NewTimer(v.in.draw("retry").between(50*time.Millisecond, 150*time.Millisecond))
		select {
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return ctx.Err()
		}
	}
}

func (v *view) Unlock(ctx context.Context, name string) error {
	return v.do(ctx, "unlock", func(st *simStorage) error {
		if st.locks[name] == v.in {
			delete(st.locks, name)
		}
		return nil
	})
}

// Enter implements [tokensource.Exclusive].
func (v *view) Enter() error {
	st := &v.in.sim.storage
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.directory {
		return nil
	}
	if st.claimed != nil && st.claimed != v.in {
		return tokensource.ErrClaimed
	}
	if st.entered == nil {
		st.entered = map[*instance]bool{}
	}
	st.entered[v.in] = true
	return nil
}

// Claim implements [tokensource.Exclusive].
func (v *view) Claim(string) (func(), error) {
	if err := v.Enter(); err != nil {
		return nil, err
	}
	st := &v.in.sim.storage
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case !st.directory:
		return nil, errors.ErrUnsupported
	case st.claimed == v.in:
		return nil, tokensource.ErrClaimed
	case len(st.entered) > 1:
		return nil, tokensource.ErrShared
	}
	st.claimed = v.in
	v.in.sim.note("%s goes on alone", v.in.name)
	return func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		if st.claimed == v.in {
			st.claimed = nil
		}
	}, nil
}

// simProvider replaces every refresh token, and revokes the login when an old one comes back.
type simProvider struct {
	*sim
	lifetime, grace time.Duration

	mu      sync.Mutex
	family  int
	n       int
	current string
	revoked bool
	spent   map[string]*spent // refresh tokens that were replaced
	keys    map[string]string // refresh token -> the header of the proofs with which it was granted
	failing float64           // the part of requests that fail
	delay   time.Duration     // the longest delay
}

// spent is a refresh token that was replaced.
type spent struct {
	by        *instance
	next      string
	began, at time.Time // of the request that spent it
	delivered bool      // the answer reached the process
}

func (p *simProvider) newLogin() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.family++
	p.n, p.revoked = p.n+1, false
	p.current = fmt.Sprintf("rt-%d-%d", p.family, p.n)
	return p.current
}

func (p *simProvider) isRevoked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revoked
}

func (p *simProvider) trouble(failing float64, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failing, p.delay = failing, delay
}

// grant answers a refresh token with a new one, or with "".
func (p *simProvider) grant(in *instance, sent, key string, began time.Time) (answer *spent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if bound, ok := p.keys[sent]; ok && bound != key {
		p.fail("%s sends %s with another key than the one to which it is bound", in.name, sent)
	}
	if p.revoked || !strings.HasPrefix(sent, fmt.Sprintf("rt-%d-", p.family)) {
		return nil
	}
	before := p.spent[sent]
	switch {
	case sent == p.current:
	case before != nil && before.next == p.current && time.Since(before.at) < p.grace:
		// The successor was not used, so the provider replaces it.
		if before.delivered {
			p.judge(in, sent, before, began)
		}
	case before != nil:
		p.judge(in, sent, before, began)
		p.revoked = true
		return nil
	default: // a successor that was replaced
		p.revoked = true
		return nil
	}
	p.n++
	p.current = fmt.Sprintf("rt-%d-%d", p.family, p.n)
	answer = &spent{by: in, next: p.current, began: began, at: time.Now()}
	p.spent[sent] = answer
	if p.keys == nil {
		p.keys = make(map[string]string)
	}
	p.keys[p.current] = key
	p.sim.mu.Lock()
	p.count.refreshes++
	p.sim.mu.Unlock()
	p.note("%s sends %s and is granted %s", in.name, sent, p.current)
	return answer
}

// judge says whether the processes could have known that a refresh token was spent already. They
// could not if its successor reached no living process, or one that was paused so that its request
// took longer than a request may take, with the answer or with the request that began then. A storage
// has no compare-and-swap, so a process that was paused between a read and a write can write over a
// newer record. Then no process knows.
func (p *simProvider) judge(in *instance, sent string, before *spent, began time.Time) {
	dead := simTimeout + time.Second
	if p.storage.lastFailure().After(before.at) {
		dead = time.Second // it could not store the answer before it was stopped
	}
	stored := p.storage.wasStored(before.next, began)
	late := time.Since(before.began) >= dead && before.by.stoodStill(before.at) > 0
	switch {
	case p.storage.fell().After(before.at), !before.delivered, !stored && before.by.isGone(),
		!stored && late, in.stoodStill(began.Add(-8*time.Second)) >= dead:
		p.note("%s sends %s again: locked out, which was inevitable", in.name, sent)
		p.sim.mu.Lock()
		p.count.inevitable++
		p.sim.mu.Unlock()
	default:
		p.fail("%s sends %s again, %v after %s spent it (successor stored: %v)",
			in.name, sent, time.Since(before.at), before.by.name, stored)
	}
}

// used checks that a token was stored before it is used.
func (p *simProvider) used(in *instance, access string) {
	number := strings.TrimPrefix(access, "at-")
	p.mu.Lock()
	refresh, at := "", time.Time{}
	for _, s := range p.spent {
		if strings.HasSuffix(s.next, "-"+number) {
			refresh, at = s.next, s.at
		}
	}
	p.mu.Unlock()
	if refresh != "" && !p.storage.wasStored(refresh, time.Now()) && p.storage.lastFailure().Before(at) {
		p.fail("%s uses token %s before its refresh token is stored", in.name, access)
	}
}

// client is the provider as one process sees it.
type client struct{ in *instance }

// RoundTrip implements [http.RoundTripper].
func (c *client) RoundTrip(req *http.Request) (*http.Response, error) {
	in, p := c.in, &c.in.sim.provider
	body, _ := io.ReadAll(req.Body)
	form, _ := url.ParseQuery(string(body))
	began := time.Now()
	if !in.runs() {
		return nil, errSim
	}
	draws := in.draw("token request")
	p.mu.Lock()
	failing, delay := p.failing, p.delay
	p.mu.Unlock()
	wait := func() bool {
		timer := time.NewTimer(draws.between(time.Millisecond, 50*time.Millisecond+delay))
		defer timer.Stop()
		select {
		case <-timer.C:
			return in.runs() && req.Context().Err() == nil
		case <-req.Context().Done():
			return false
		}
	}
	if draws.chance(failing / 2) {
		return nil, errSim // the request never arrived
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if !wait() { // it was abandoned on its way
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		return nil, errSim
	}
	key, _, proved := strings.Cut(req.Header.Get("DPoP"), ".") // each process sends its public key in the same form
	if proved != (in.sim.dpop() != "") {
		p.fail("%s sends a request with the proof %q", in.name, key)
	}
	answer := p.grant(in, form.Get("refresh_token"), key, began)
	if answer == nil {
		wait()
		return respond(req, http.StatusBadRequest, `{"error":"invalid_grant"}`), nil
	}
	if !wait() || draws.chance(failing/2) {
		in.sim.note("the answer with %s is lost", answer.next)
		in.sim.mu.Lock()
		in.sim.count.lost++
		in.sim.mu.Unlock()
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		return nil, errSim
	}
	p.mu.Lock()
	answer.delivered = true
	p.mu.Unlock()
	number := answer.next[strings.LastIndex(answer.next, "-")+1:]
	tokenType := "Bearer"
	if proved {
		tokenType = "DPoP"
	}
	return respond(req, http.StatusOK,
		fmt.Sprintf(`{"access_token":"at-%s","refresh_token":%q,"token_type":%q,"expires_in":%s}`,
			number, answer.next, tokenType, strconv.FormatFloat(p.lifetime.Seconds(), 'f', 3, 64))), nil
}

func respond(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}
}
