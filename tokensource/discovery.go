package tokensource

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

const (
	// metadataLifetime is how long fetched metadata is used.
	metadataLifetime = time.Hour
	// metadataRetry is how long a failed fetch is remembered.
	metadataRetry = 5 * time.Second
	// maxIssuers bounds the number of issuers in memory.
	maxIssuers = 1000
)

// discovery keeps the metadata of a source's issuer. If the issuer's URL has a variable, the source
// has several issuers. Metadata is fetched when it is first needed. A request with a live token
// never waits for a fetch.
type discovery struct {
	fetches singleflight.Group
	mu      sync.Mutex
	known   map[string]discovered
}

// discovered is the result of the last fetch.
type discovered struct {
	metadata *metadata // nil until a fetch succeeds
	failure  *Error
	until    deadline // when to fetch again
}

// metadata returns the metadata of the issuer of an account with these variables. An issuer must be
// configured. If the metadata cannot be fetched again, the metadata fetched before stays in use.
func (w *wire) metadata(ctx context.Context, variables map[string]string) (*metadata, *Error) {
	issuer, err := provider.Expand(w.cfg.Variables, w.cfg.Issuer, variables)
	if err != nil {
		return nil, &Error{Class: ClassOperator, Reason: "issuer: " + err.Error(), cause: err}
	}
	found, current := w.discoveredLast(issuer)
	if !current {
		fetched := w.discovery.fetches.DoChan(issuer, func() (any, error) {
			found, current := w.discoveredLast(issuer)
			if current {
				return found, nil // another fetch ended just now
			}
			m, failure := w.guardedMetadata(context.WithoutCancel(ctx), issuer)
			w.tellElsewhere(found.metadata, m)
			return w.discovered(issuer, m, failure), nil
		})
		select {
		case result := <-fetched:
			found = result.Val.(discovered)
		case <-ctx.Done():
			return nil, &Error{Class: ClassWait, Reason: "the issuer did not answer in time", cause: ctx.Err()}
		}
	}
	if found.metadata == nil {
		own := *found.failure // each caller gets its own copy, because callers change the error
		return nil, &own
	}
	return found.metadata, nil
}

// guardedMetadata is fetchMetadata, and turns a panic of the transport into a failure. singleflight
// would end the process.
func (w *wire) guardedMetadata(ctx context.Context, issuer string) (m *metadata, failure *Error) {
	defer func() {
		if value := recover(); value != nil {
			m, failure = nil, panicked(value)
		}
	}()
	return w.fetchMetadata(ctx, issuer)
}

// discoveredLast returns the result of the last fetch, and whether it is still current.
func (w *wire) discoveredLast(issuer string) (found discovered, current bool) {
	d := &w.discovery
	d.mu.Lock()
	defer d.mu.Unlock()
	found, ok := d.known[issuer]
	return found, ok && !w.cfg.Clock.passed(found.until)
}

// discovered keeps the result of a fetch. After a failure it keeps the metadata fetched before.
func (w *wire) discovered(issuer string, m *metadata, failure *Error) discovered {
	d := &w.discovery
	d.mu.Lock()
	defer d.mu.Unlock()
	now := discovered{metadata: m, failure: failure, until: w.cfg.Clock.in(metadataLifetime)}
	if failure != nil {
		now.metadata, now.until = d.known[issuer].metadata, w.cfg.Clock.in(metadataRetry)
	}
	if _, known := d.known[issuer]; d.known == nil || !known && len(d.known) >= maxIssuers {
		d.known = make(map[string]discovered)
	}
	d.known[issuer] = now
	return now
}

// tellElsewhere tells the observer if the metadata m names endpoints on other origins than the
// issuer's. It tells nothing if the earlier metadata named the same endpoints.
func (w *wire) tellElsewhere(before, m *metadata) {
	if m == nil || w.tell == nil {
		return
	}
	traits := w.cfg.Grant.Traits()
	_, interactive := w.cfg.Grant.(Interactive)
	var options []string // the options that are read from the metadata
	for _, option := range []struct {
		name, configured string
		needed           bool
	}{
		{"authorize_url", w.cfg.AuthorizeURL, interactive && !traits.Device},
		{"device_url", w.cfg.DeviceURL, traits.Device},
		{"token_url", w.cfg.TokenURL, !traits.NoTokenURL},
		{"revoke_url", w.cfg.RevokeURL, interactive},
		{"par_url", w.cfg.PARURL, interactive && (w.cfg.PAR || m.requiresPAR)},
	} {
		if option.configured == "" && option.needed {
			options = append(options, option.name)
		}
	}
	elsewhere := m.elsewhere(options)
	if len(elsewhere) == 0 || before != nil && slices.Equal(before.elsewhere(options), elsewhere) {
		return
	}
	w.tell(Event{Kind: EventEndpointsElsewhere, Issuer: m.issuer, Endpoints: elsewhere})
}

// endpoint returns an account's endpoint: the configured one, or the one in the issuer's metadata.
// It returns an empty string if there is none.
func (w *wire) endpoint(ctx context.Context, option, configured string, variables map[string]string) (string, *Error) {
	if configured != "" || w.cfg.Issuer == "" {
		expanded, err := provider.Expand(w.cfg.Variables, configured, variables)
		if err != nil {
			return "", &Error{Class: ClassOperator, Reason: option + ": " + err.Error(), cause: err}
		}
		return expanded, nil
	}
	m, failure := w.metadata(ctx, variables)
	if failure == nil {
		failure = w.cfg.dpopOffered(m)
	}
	if failure != nil {
		return "", failure
	}
	return m.endpoint(option)
}
