package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	// TVClient may use device_code and refresh_token.
	TVClient = "tv"
	// TVSecret is the secret of TVClient.
	TVSecret = "t:v+s/%2f&=ü"
)

// devices are the device logins of a provider.
type devices struct {
	mu     sync.Mutex
	slower int  // requests for a token that are answered slow_down
	ended  bool // all codes have ended
}

// SlowDown makes the provider answer the next n requests for the token of a device login with
// slow_down.
func (p *Provider) SlowDown(n int) {
	p.storage.devices.mu.Lock()
	defer p.storage.devices.mu.Unlock()
	p.storage.devices.slower = n
}

// EndCodes ends the codes of all device logins, which the provider itself does after five minutes.
func (p *Provider) EndCodes() {
	p.storage.devices.mu.Lock()
	defer p.storage.devices.mu.Unlock()
	p.storage.devices.ended = true
}

// AllowDevice acts as a user who types a code into the provider's page, logs in and allows access.
func (p *Provider) AllowDevice(t testing.TB, userCode string) {
	t.Helper()
	if err := p.storage.CompleteDeviceAuthorization(t.Context(), userCode, "id1"); err != nil {
		t.Fatalf("harness: allowing %q: %v", userCode, err)
	}
}

// DenyDevice acts as a user who types a code and denies access.
func (p *Provider) DenyDevice(t testing.TB, userCode string) {
	t.Helper()
	if _, err := p.storage.GetDeviceAuthorizationByUserCode(t.Context(), userCode); err != nil {
		t.Fatalf("harness: denying %q: %v", userCode, err)
	}
	if err := p.storage.DenyDeviceAuthorization(t.Context(), userCode); err != nil {
		t.Fatalf("harness: denying %q: %v", userCode, err)
	}
}

// GetDeviceAuthorizatonState implements op.DeviceAuthorizationStorage. The provider answers
// slow_down if its storage takes too long.
func (s *opStorage) GetDeviceAuthorizatonState(ctx context.Context, client,
	code string) (*op.DeviceAuthorizationState, error) {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	if s.devices.slower > 0 {
		s.devices.slower--
		return nil, context.DeadlineExceeded
	}
	state, err := s.Storage.GetDeviceAuthorizatonState(ctx, client, code)
	if err == nil && s.devices.ended {
		ended := *state
		ended.Expires = time.Now().Add(-time.Second)
		return &ended, nil
	}
	return state, err
}

// tvClient is the example's device client, with refresh tokens.
type tvClient struct{ *storage.Client }

// GrantTypes implements op.Client.
func (*tvClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeDeviceCode, oidc.GrantTypeRefreshToken}
}

// quickCodes makes the device authorization endpoint answer an interval of one second. The example
// answers five seconds, but does not enforce it.
func quickCodes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		var answer map[string]any
		if rec.Code == http.StatusOK && json.Unmarshal(rec.Body.Bytes(), &answer) == nil {
			answer["interval"] = 1
			body, _ := json.Marshal(answer)
			rec.Body = bytes.NewBuffer(body)
			rec.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		replay(w, rec)
	})
}
