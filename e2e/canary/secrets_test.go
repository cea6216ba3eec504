package canary

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// secrets has all credentials of a run, by kind.
type secrets struct {
	mu   sync.Mutex
	kind map[string]string // value -> kind
	n    int
}

// add records a credential under its first kind. It ignores an empty one.
func (s *secrets) add(kind, value string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.kind[value]; !known && value != "" {
		s.kind[value] = kind
	}
	return value
}

// make makes a credential of a kind that looks like nothing else.
func (s *secrets) make(kind string) string {
	s.mu.Lock()
	s.n++
	n := s.n
	s.mu.Unlock()
	return s.add(kind, fmt.Sprintf("canary.%s.%04d.%s", strings.ReplaceAll(kind, " ", "-"),
		n, hex.EncodeToString([]byte{byte(n), 0xca, 0xfe, byte(7 * n)})))
}

// A hit is a credential that was found in a sink.
type hit struct{ sink, kind string }

// spellings returns the encodings of a credential.
func spellings(value string) []string {
	quoted, _ := json.Marshal(value) // text always marshals
	all := []string{
		value, url.QueryEscape(value), url.PathEscape(value), html.EscapeString(value), string(quoted[1 : len(quoted)-1]),
		base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)),
		hex.EncodeToString([]byte(value)),
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// find returns the credentials in the sinks, except for kinds that a sink may hold. The context is
// the text around the first one of each kind.
func (s *secrets) find(sinks map[string]string, allowed map[string][]string) (hits []hit, context map[hit]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	context = make(map[hit]string)
	for sink, text := range sinks {
		for value, kind := range s.kind {
			if slices.Contains(allowed[sink], kind) {
				continue
			}
			h := hit{sink, kind}
			if _, known := context[h]; known {
				continue
			}
			for _, spelling := range spellings(value) {
				if at := strings.Index(text, spelling); at >= 0 {
					hits = append(hits, h)
					context[h] = text[max(0, at-200):min(len(text), at+len(spelling)+80)]
					break
				}
			}
		}
	}
	return hits, context
}
