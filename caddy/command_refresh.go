package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/connect"
)

func refreshCommand() *cobra.Command {
	var config commandConfig
	cmd := &cobra.Command{
		Use:   "refresh <source>",
		Short: "Makes the running server ask for a new token now",
		Long: `Asks the running server, through its admin API, to get a new token at once. If that fails, the
server keeps the token in use, and the exit status is 1. A pause that the provider demanded is
respected.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			address, err := config.adminAddress()
			if err != nil {
				return err
			}
			st, err := postAccount(address, args[0], config.account, "refresh")
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stdout, "%s: %s\n", connect.AccountName(args[0], config.account), st.Words)
			return nil
		},
	}
	config.flags(cmd)
	config.accountFlag(cmd)
	config.addressFlag(cmd)
	return cmd
}

// pathSegment escapes a name for a path, with its dots: "." and ".." would be other paths.
func pathSegment(name string) string { return strings.ReplaceAll(url.PathEscape(name), ".", "%2E") }

// adminAddress returns the address of the admin API: the flag's, the configured one, or the
// default.
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

// postAccount asks the running server to refresh or sync an account. It returns the account's state
// afterwards, or why that failed.
func postAccount(address, source, account, action string) (st accountStatus, err error) {
	path := adminBase + "sources/" + pathSegment(source)
	if account != "" {
		path += "/" + pathSegment(account)
	}
	path += "/" + action
	res, err := caddycmd.AdminAPIRequest(address, http.MethodPost, path, nil, nil)
	if err != nil {
		// The error ends with the server's answer, as JSON.
		if at := strings.IndexByte(err.Error(), '{'); at >= 0 && json.Unmarshal([]byte(err.Error()[at:]), &st) == nil && st.Error != "" {
			return st, errors.New(st.Error)
		}
		return st, fmt.Errorf("asking the admin API at %s: %w", address, err)
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
