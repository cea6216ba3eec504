package tokensourcetest

import "slices"

// faults is which fault meets which request. Server.mu guards it.
type faults struct {
	queue  []Fault
	always Fault
	choose func(*TokenRequest) Fault
}

// Script appends faults to the queue: each token request takes the first one
// off, in the order in which requests have been read. The zero [Fault] in it is
// a request that goes well.
func (s *Server) Script(steps ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.queue = append(s.faults.queue, steps...)
}

// ScriptLeft returns how many faults are still queued.
func (s *Server) ScriptLeft() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.faults.queue)
}

// AlwaysFault gives f to every token request that finds the queue empty. The
// zero Fault ends that. It replaces what [Server.SetFault] set.
func (s *Server) AlwaysFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.always, s.faults.choose = f, nil
}

// SetFault asks choose for the fault of every token request that finds the queue
// empty, after the request was read. choose gets a copy of the record as it is
// then; it runs concurrently with itself and may call the Server. Nil ends that.
// It replaces what [Server.AlwaysFault] set.
func (s *Server) SetFault(choose func(*TokenRequest) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.always, s.faults.choose = Fault{}, choose
}

// ClearFaults empties the queue and ends what [Server.AlwaysFault] or
// [Server.SetFault] set. Requests that have their fault keep it.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults{}
}

// Repeat is n times f, for [Server.Script].
func Repeat(n int, f Fault) []Fault { return slices.Repeat([]Fault{f}, n) }

// next takes the fault of the next request. The second result is to be asked
// instead, without the lock, unless it is nil.
func (f *faults) next() (Fault, func(*TokenRequest) Fault) {
	if len(f.queue) > 0 {
		first := f.queue[0]
		f.queue = f.queue[1:]
		return first, nil
	}
	return f.always, f.choose
}

// faultBeforeReading returns the fault of the next request, and records it, if
// that fault wants the request left unread.
func (s *Server) faultBeforeReading(rec *TokenRequest) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.faults.always
	if len(s.faults.queue) > 0 {
		next = s.faults.queue[0]
	}
	if next.Drop != BeforeReading {
		return Fault{}, false
	}
	fault, _ := s.faults.next()
	s.recordLocked(rec, fault.Name)
	return fault, true
}
