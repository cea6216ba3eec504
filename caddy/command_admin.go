package caddy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// adminTimeout is how long a command waits for the state from the admin API. The admin API sends no
// request to a provider for it, so it answers soon.
const adminTimeout = 5 * time.Second

// pathSegment escapes a name for a path. It also escapes dots, because "." and ".." would lead to
// other paths.
func pathSegment(name string) string { return strings.ReplaceAll(url.PathEscape(name), ".", "%2E") }

// adminAddress returns the address of the admin API: the address in the flag, else the configured
// one, else the default. The environment variable CADDY_ADMIN can change the default.
func (c *commandConfig) adminAddress() (string, error) {
	if _, err := os.Stat(defaultConfig); c.address != "" || c.file == "" && err != nil {
		return caddycmd.DetermineAdminAPIAddress(c.address, nil, "", "")
	}
	raw, err := c.read()
	if err != nil {
		return "", err
	}
	return caddycmd.DetermineAdminAPIAddress("", raw, c.file, "")
}

// accountPath returns the path of an account in the admin API, or of the source if account is empty.
func accountPath(source, account string) string {
	path := adminBase + "sources/" + pathSegment(source)
	if account != "" {
		path += "/" + pathSegment(account)
	}
	return path
}

// getAdmin reads an answer of the admin API at an address into a value.
func getAdmin(ctx context.Context, address, path string, into any) error {
	return within(ctx, adminTimeout, func(context.Context) error {
		res, err := caddycmd.AdminAPIRequest(address, http.MethodGet, path, nil, nil)
		if err != nil {
			return answerError(err)
		}
		defer res.Body.Close()
		return json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(into)
	})
}

// within calls do, and returns when do has ended or the time is over. Requests to the admin API do not
// end with a context.
func within(ctx context.Context, limit time.Duration, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answerError returns the [caddy.APIError] that the admin API answered, or err if it did not answer.
func answerError(err error) error {
	at := strings.IndexByte(err.Error(), '{')
	var answer caddy.APIError
	if at >= 0 && json.Unmarshal([]byte(err.Error()[at:]), &answer) == nil && answer.Message != "" {
		return answer
	}
	return err
}

// unansweredError says that no server answered at the address of the admin API.
type unansweredError struct{ error }

func (e unansweredError) Unwrap() error { return e.error }

// notRunning says why a server at an address was not asked.
func notRunning(address string, err error) string {
	switch {
	case errors.As(err, new(caddy.APIError)):
		return fmt.Sprintf("the server at %s answers: %v", address, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the admin API at %s does not answer", address)
	case strings.HasPrefix(err.Error(), "performing request: "):
		return fmt.Sprintf("no server answers at %s, the address of the admin API", address)
	}
	return fmt.Sprintf("the admin API at %s does not answer as a server with this module", address)
}

// postAccount asks the running server to refresh or sync an account. It returns the account's state
// afterwards, or why that failed.
func postAccount(address, source, account, action string) (st accountStatus, err error) {
	res, err := caddycmd.AdminAPIRequest(address, http.MethodPost, accountPath(source, account)+"/"+action, nil, nil)
	if err != nil {
		// The error ends with the server's answer, as JSON.
		if at := strings.IndexByte(err.Error(), '{'); at >= 0 && json.Unmarshal([]byte(err.Error()[at:]), &st) == nil &&
			st.Error != "" {
			return st, errors.New(st.Error)
		}
		if answer := answerError(err); errors.As(answer, new(caddy.APIError)) {
			return st, answer
		}
		return st, unansweredError{fmt.Errorf("%s; start the server with caddy run, "+
			"or name the address of its admin API with --address (%w)", notRunning(address, err), err)}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return st, fmt.Errorf("reading the answer of the admin API: %w", err)
	}
	if err := json.Unmarshal(body, &st); err != nil {
		return st, fmt.Errorf("the admin API at %s sent an answer that is not a status", address)
	}
	return st, nil
}
