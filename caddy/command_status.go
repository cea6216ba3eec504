package caddy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

func statusCommand() *cobra.Command {
	var (
		config commandConfig
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "status [<source>]",
		Short: "Shows the state of accounts",
		Long: `Shows the state of the accounts of all sources, or of one source, from the storage. Only the
running server knows tokens that are not stored. With the name of a source the exit status is 1
if a login is needed. Records that cannot be read are reported last, as an error.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := config.load()
			if err != nil {
				return err
			}
			names := slices.Sorted(maps.Keys(app.pooled))
			if len(args) == 1 {
				if _, _, err := app.source(args[0]); err != nil {
					return err
				}
				names = args
			}
			all := []accountStatus{} // for JSON, none is a list too
			var failed []error
			for _, name := range names {
				list, err := app.stored(cmd.Context(), name, config.account, cmd.Flags().Changed("account"))
				if err != nil {
					failed = append(failed, err)
				}
				all = append(all, list...)
			}
			if err := printStatus(all, asJSON); err != nil {
				return err
			}
			for _, st := range all {
				// A named account that a person disconnected needs no login.
				if len(args) == 1 && st.State == tokensource.StateLoginRequired && (st.Account == "" || !st.Disconnected) {
					failed = append(failed, errors.New("a login is needed"))
					break
				}
			}
			return errors.Join(failed...)
		},
	}
	config.flags(cmd)
	cmd.Flags().StringVar(&config.account, "account", "", "Only this account")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	return cmd
}

// accountStatus is the state of an account, for people and programs.
type accountStatus struct {
	Source     string            `json:"source"`
	Account    string            `json:"account,omitempty"`
	Grant      string            `json:"grant"`
	State      tokensource.State `json:"state"`
	Words      string            `json:"words"`
	Generation uint64            `json:"generation,omitempty"`
	Obtained   time.Time         `json:"obtained,omitzero"`
	Expiry     time.Time         `json:"expiry,omitzero"`
	RefreshAt  time.Time         `json:"refresh_at,omitzero"`
	Live       bool              `json:"live"`
	Refused    bool              `json:"refused,omitempty"`
	Renews     bool              `json:"renews"`
	Scope      string            `json:"scope,omitempty"`
	Variables  map[string]string `json:"variables,omitempty"`
	Class      tokensource.Class `json:"class,omitempty"`
	Error      string            `json:"error,omitempty"`
	Attempts   int               `json:"attempts,omitempty"`
	Unsaved    bool              `json:"unsaved,omitempty"`
	// Disconnected is true if a person disconnected the account.
	Disconnected bool `json:"disconnected,omitempty"`
}

func newAccountStatus(st tokensource.Status, grant string) accountStatus {
	s := accountStatus{
		Source: st.Source, Account: st.Account, Grant: grant, State: st.State, Generation: st.Generation,
		Obtained: st.Obtained, Expiry: st.Expiry, RefreshAt: st.RefreshAt, Live: st.Live, Refused: st.Refused,
		Renews: st.Renews, Scope: st.Scope, Variables: st.Variables, Attempts: st.Attempts, Unsaved: st.Unsaved,
		Disconnected: st.Disconnected,
	}
	s.Words, _ = connect.Describe(st, time.Now())
	if g, err := newGrant(grant); err == nil && !isInteractive(g) && st.State == tokensource.StateLoginRequired {
		// No person can log in: the configuration has the refresh token.
		s.Words = "The refresh token is refused. Configure another one."
		if st.Live {
			s.Words += " The token in use stays valid to its end."
		}
	}
	if st.Err != nil {
		s.Class, s.Error = st.Err.Class, st.Err.Error()
	}
	return s
}

// stored returns the accounts of a source from the storage. With an error, it returns those that
// can be read.
func (a *loadedApp) stored(ctx context.Context, name, account string, one bool) ([]accountStatus, error) {
	pooled, cfg, err := a.source(name)
	if err != nil {
		return nil, err
	}
	grant := cfg.grantName
	if !pooled.source.Traits().Stored {
		return []accountStatus{{
			Source: name, Grant: grant, State: tokensource.StateNone, Renews: pooled.source.Traits().Renews,
			Words: "Needs no login; the running server keeps the token.",
		}}, nil
	}
	accounts := []string{account}
	var failed error
	if !one {
		var named []string
		named, failed = pooled.source.Accounts(ctx)
		accounts = append([]string{""}, named...)
	}
	var list []accountStatus
	for _, account := range accounts {
		st, err := pooled.source.Stored(ctx, account)
		if err != nil {
			failed = err
			list = append(list, newAccountStatus(st, grant))
			continue
		}
		if account == "" && (len(accounts) > 1 || failed != nil) && st.Generation == 0 {
			continue // only its named accounts are used
		}
		if st.State == tokensource.StateNone && pooled.source.Interactive() {
			st.State = tokensource.StateLoginRequired
		}
		list = append(list, newAccountStatus(st, grant))
	}
	if failed != nil && len(list) == 0 {
		st := tokensource.Status{Source: name, State: tokensource.StateNone}
		errors.As(failed, &st.Err)
		list = append(list, newAccountStatus(st, grant))
	}
	return list, failed
}

func printStatus(list []accountStatus, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		return out.Encode(list)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, st := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\n", st.Source, connect.Printable(st.Account), st.Words)
	}
	return table.Flush()
}
