package tokensource

import "testing"

// A host is forgotten as soon as no refresh has a turn or waits for one.
func TestHostsOfLimitsAreForgotten(t *testing.T) {
	var l limits
	first, second, closed := turn{limits: &l}, turn{limits: &l}, make(chan struct{})
	first.take("https://a.example.com", closed)
	second.take("https://a.example.com", closed)
	second.take("https://b.example.com", closed)
	if len(l.hosts) != 2 {
		t.Errorf("%d hosts, want 2", len(l.hosts))
	}
	first.end()
	second.end()
	second.end()
	if len(l.hosts) != 0 {
		t.Errorf("%d hosts are left", len(l.hosts))
	}
}
