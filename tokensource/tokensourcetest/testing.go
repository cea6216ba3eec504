package tokensourcetest

// T is what the helpers for tests need of a *testing.T or *testing.B. It is an
// interface so that programs can use this package without linking testing.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(func())
}

// Start is [NewServer] for a test: the server is closed when the test ends.
func Start(t T, cfg Config) *Server {
	t.Helper()
	s := NewServer(cfg)
	t.Cleanup(s.Close)
	return s
}

// Report fails the test once for each violation.
func Report(t T, violations ...[]Violation) {
	t.Helper()
	for _, list := range violations {
		for _, v := range list {
			t.Errorf("%s", v)
		}
	}
}
