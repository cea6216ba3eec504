package tokensourcetest

// T is the part of *testing.T and *testing.B that the helpers for tests use. It is an interface so
// that programs can use this package without linking testing.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(func())
}

// Start is [NewServer] for a test. It closes the server when the test ends.
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
