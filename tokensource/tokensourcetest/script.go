package tokensourcetest

import "slices"

// faults decides which request gets which fault. Server.mu guards it.
type faults struct {
	queue  []Fault
	always Fault
	choose func(*TokenRequest) Fault
}

// Script appends faults to the queue. Each token request takes the first one, in the order in which
// requests were read. A zero [Fault] in the queue means that nothing goes wrong with that request.
func (s *Server) Script(steps ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.queue = append(s.faults.queue, steps...)
}

// ScriptLeft returns the number of faults in the queue.
func (s *Server) ScriptLeft() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.faults.queue)
}

// AlwaysFault gives f to every token request that finds the queue empty. The zero Fault ends that.
// AlwaysFault replaces the setting of [Server.SetFault].
func (s *Server) AlwaysFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.always, s.faults.choose = f, nil
}

// SetFault calls choose for the fault of every token request that finds the queue empty, after the
// request was read. choose gets a copy of the current record. It may run concurrently, and may call
// the Server. Nil ends that. SetFault replaces the setting of [Server.AlwaysFault].
func (s *Server) SetFault(choose func(*TokenRequest) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.always, s.faults.choose = Fault{}, choose
}

// ClearFaults empties the queue and resets the setting of [Server.AlwaysFault] or
// [Server.SetFault]. Requests that already have their fault keep it.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults{}
}

// Repeat returns n times f, for [Server.Script].
func Repeat(n int, f Fault) []Fault { return slices.Repeat([]Fault{f}, n) }

// next takes the fault of the next request. If the second result is not nil, it must be called
// instead, without the lock.
func (f *faults) next() (Fault, func(*TokenRequest) Fault) {
	if len(f.queue) > 0 {
		first := f.queue[0]
		f.queue = f.queue[1:]
		return first, nil
	}
	return f.always, f.choose
}

// faultBeforeReading returns the fault of the next request, and records the request, if that fault
// leaves the request unread.
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
