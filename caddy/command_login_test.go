package caddy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

// unreachableStorage fails at each access.
type unreachableStorage struct{ *tokensource.MemoryStorage }

var errUnreachable = errors.New("unreachable")

func (unreachableStorage) Load(context.Context, string) ([]byte, error) { return nil, errUnreachable }
func (unreachableStorage) Store(context.Context, string, []byte) error  { return errUnreachable }
func (unreachableStorage) Delete(context.Context, string) error         { return errUnreachable }

// If a login cannot be cancelled, the error says until when an answer can still connect the account.
// A code for another device has its own end.
func TestLoginThatCannotBeCancelled(t *testing.T) {
	t.Parallel()
	begun := time.Date(2030, 1, 2, 12, 0, 0, 0, time.Local)
	for want, c := range map[string]struct {
		grant  tokensource.Grant
		device *tokensource.Device
	}{
		"until 12:10:00:": {tokensource.AuthorizationCode{}, nil},
		"until 12:30:00:": {tokensource.DeviceCode{}, &tokensource.Device{Ends: begun.Add(30 * time.Minute)}},
	} {
		src, err := tokensource.New(tokensource.Config{
			Name: "a", TokenURL: "https://login.example.com/token", AuthorizeURL: "https://login.example.com/authorize",
			DeviceURL: "https://login.example.com/device", ClientID: "x",
			Grant: c.grant, Storage: unreachableStorage{new(tokensource.MemoryStorage)},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = src.Close(context.Background()) })
		l := terminalLogin{Source: connect.Source{Name: "a", Tokens: src}}
		err = l.cancel(t.Context(), &tokensource.Login{
			Source: "a", State: tokensource.NewSecret("s"), Begun: begun, Device: c.device,
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
