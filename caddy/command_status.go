package caddy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/certmagic"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/tokensource"
)

func statusCommand() *cobra.Command {
	var (
		q      statusQuery
		watch  bool
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "status [<source>]",
		Short: "Shows the state of accounts",
		Long: `Shows the state of the accounts of all sources, or of one source, and what to do if something is
wrong. It asks the running server through its admin API. If no server answers, it reads the storage,
or with --storage, and says so: then only what is stored is known, and not the tokens of grants such
as client_credentials, which only a server keeps.

The exit status follows the worst state:
  0  every account is fine
  1  an account must be connected, or the state could not be found out
  2  the configuration must be changed
  3  there is no token at the moment, or it could not be stored; a server tries again by itself while it runs`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				q.source = args[0]
			}
			q.one = cmd.Flags().Changed("account")
			for {
				report, err := q.ask(cmd.Context())
				if report == nil {
					return err
				}
				if watch {
					report.clear(os.Stdout)
				}
				if err := errors.Join(report.print(os.Stdout, asJSON), err); err != nil {
					return err
				}
				if watch {
					if again(cmd.Context()) {
						continue
					}
				}
				return exitWith(cmd, report.accounts)
			}
		},
		ValidArgsFunction: q.completeSources(false),
	}
	q.flags(cmd)
	q.addressFlag(cmd)
	cmd.Flags().StringVar(&q.account, "account", "", "Only this account")
	cmd.Flags().BoolVar(&q.stored, "storage", false, "Read the storage, also if a server runs")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print a list in JSON; the member from says where it comes from")
	cmd.Flags().BoolVar(&watch, "watch", false, "Print the state again every 2 seconds, until interrupted")
	return cmd
}

// exitWith ends a command with the exit status of the accounts.
func exitWith(cmd *cobra.Command, list []accountStatus) error {
	status, words := exitOf(list)
	switch status {
	case exitFine:
		return nil
	case 1: // as of every error
		return errors.New(words)
	}
	fmt.Fprintln(os.Stderr, "Error: "+words)
	cmd.SilenceErrors = true // Caddy would log it
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, nil })(cmd, nil)
}

// watchEvery is the pause of status --watch.
const watchEvery = 2 * time.Second

// again waits for the next round, and reports whether there is one.
func again(ctx context.Context) bool {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	select {
	case <-time.After(watchEvery):
		return true
	case <-ctx.Done():
		return false
	}
}

// statusQuery asks for the state of accounts.
type statusQuery struct {
	commandConfig
	source string // empty: all
	one    bool   // only the account
	stored bool   // do not ask the server
}

// statusReport is the answer to a query.
type statusReport struct {
	accounts []accountStatus
	server   string   // the admin API that was asked; empty: the storage
	storages []string // that were read
	why      string   // the server was not asked
}

// ask asks the running server, or reads the storage if no server runs. If the report is nil, the error
// says why nothing is known. Otherwise the error is about records that cannot be read.
func (q *statusQuery) ask(ctx context.Context) (*statusReport, error) {
	at, configured, err := q.server()
	if err != nil {
		return nil, err
	}
	why := "the configuration turns the admin API off"
	if q.stored {
		at, why = "", ""
	}
	if at != "" {
		var list []accountStatus
		list, why, err = q.askServer(ctx, at, configured)
		switch {
		case list == nil && err != nil:
			return nil, err
		case why == "":
			return &statusReport{accounts: list, server: at}, err
		}
		if configured == nil && q.file == "" {
			if _, err := os.Stat(defaultConfig); err != nil {
				return nil, fmt.Errorf("%s, and there is no Caddyfile in the working directory; "+
					"name the server with --address, or the configuration with --config", why)
			}
		}
	}
	app, err := q.load()
	if err != nil {
		return nil, err
	}
	report := &statusReport{accounts: []accountStatus{}, why: why}
	names := slices.Sorted(maps.Keys(app.pooled))
	if q.source != "" {
		if _, _, err := app.source(q.source); err != nil {
			return nil, err
		}
		names = []string{q.source}
	}
	var failed []error
	for _, name := range names {
		list, err := app.stored(ctx, name, q.account, q.one)
		if err != nil {
			failed = append(failed, err)
		}
		report.accounts = append(report.accounts, list...)
		if pooled := app.pooled[name]; pooled.source.Traits().Stored {
			report.storages = append(report.storages, storageName(app.Sources[name].storage))
		}
	}
	slices.Sort(report.storages)
	report.storages = slices.Compact(report.storages)
	return report, errors.Join(failed...)
}

// server returns the address of the admin API and the names of the configured sources. The address is
// empty if the admin API is off. The names are nil if there is no configuration to read.
func (q *statusQuery) server() (at string, sources []string, err error) {
	if _, err := os.Stat(defaultConfig); q.file == "" && err != nil {
		at, err = q.adminAddress()
		return at, nil, err
	}
	raw, err := q.read()
	if err != nil {
		return "", nil, err
	}
	var config struct {
		Admin struct {
			Disabled bool `json:"disabled"`
		} `json:"admin"`
		Apps struct {
			App struct {
				Sources map[string]json.RawMessage `json:"sources"`
			} `json:"authinject"`
		} `json:"apps"`
	}
	if json.Unmarshal(raw, &config) == nil { // loading reports the error
		sources = slices.AppendSeq([]string{}, maps.Keys(config.Apps.App.Sources))
	}
	if config.Admin.Disabled && q.address == "" {
		return "", sources, nil
	}
	at, err = q.adminAddress()
	return at, sources, err
}

// askServer asks the server at an address. why says why its answer is not used.
func (q *statusQuery) askServer(ctx context.Context, at string, configured []string) (list []accountStatus, why string, err error) {
	var all []sourceStatus
	if err := getAdmin(ctx, at, adminBase+"sources", &all); err != nil {
		return nil, notRunning(at, err), nil
	}
	names := make([]string, len(all))
	for i, source := range all {
		names[i] = source.Source
	}
	for _, name := range configured {
		if !slices.Contains(names, name) {
			return nil, fmt.Sprintf("the server at %s runs another configuration", at), nil
		}
	}
	list = []accountStatus{}
	var failed []error
	found := q.source == ""
	for _, source := range all {
		if q.source != "" && source.Source != q.source {
			continue
		}
		found = true
		if source.Error != "" {
			failed = append(failed, errors.New(source.Error))
		}
		for _, st := range source.Accounts {
			if !q.one || st.Account == q.account {
				st.From = fromServer
				list = append(list, st)
			}
		}
	}
	switch {
	case !found:
		return nil, "", unknownSource(q.source, names)
	case q.one && len(list) == 0 && q.source != "":
		// The list of a source is limited.
		var st accountStatus
		if err := getAdmin(ctx, at, adminBase+"sources/"+pathSegment(q.source)+"/"+pathSegment(q.account), &st); err != nil {
			return nil, "", err
		}
		st.From = fromServer
		list = append(list, st)
	}
	return list, "", errors.Join(failed...)
}

// From where the state is known.
const (
	fromServer  = "server"
	fromStorage = "storage"
)

// storageName names a storage to a person.
func storageName(storage tokensource.Storage) string {
	if files, ok := storage.(*certmagic.FileStorage); ok {
		return files.Path
	}
	if named, ok := storage.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("%T", storage)
}

// stored returns the accounts of a source from the storage. With an error, it returns those that
// can be read.
func (a *loadedApp) stored(ctx context.Context, name, account string, one bool) ([]accountStatus, error) {
	pooled, cfg, err := a.source(name)
	if err != nil {
		return nil, err
	}
	grant := cfg.grantName
	if pooled.source.Exchanges() {
		st := newAccountStatus(tokensource.Status{Source: name, Exchanges: true, Renews: true}, grant)
		st.State, st.From = tokensource.StateNone, fromStorage
		return []accountStatus{st}, nil
	}
	if !pooled.source.Traits().Stored {
		return []accountStatus{{
			Source: name, Grant: grant, State: tokensource.StateNone, Renews: pooled.source.Traits().Renews,
			Words: "Not known: only a running server has its token. No login is needed.",
			From:  fromStorage,
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
			_, err := pooled.source.Lookup(ctx, account)
			_ = errors.As(err, &st.Err) // it says what to do
		}
		list = append(list, newAccountStatus(st, grant).logins(ctx, pooled.source))
	}
	if failed != nil && len(list) == 0 {
		st := tokensource.Status{Source: name, State: tokensource.StateNone}
		errors.As(failed, &st.Err)
		list = append(list, newAccountStatus(st, grant))
	}
	for i := range list {
		list[i].From = fromStorage
	}
	return list, failed
}

// print prints the report.
func (r *statusReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, r.accounts)
	}
	switch {
	case r.server != "":
		fmt.Fprintf(w, "From the running server (admin API at %s):\n\n", r.server)
	default:
		from := "configuration"
		if len(r.storages) > 0 {
			from = "storage (" + strings.Join(r.storages, ", ") + ")"
		}
		if r.why != "" {
			from += ", because " + r.why
		}
		fmt.Fprintf(w, "From the %s:\n\n", from)
	}
	if len(r.accounts) == 0 {
		_, err := fmt.Fprintln(w, "There are no accounts.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SOURCE\tACCOUNT\tSTATE\tIN WORDS")
	var todo []string
	for _, st := range r.accounts {
		account := "-"
		if st.Account != "" {
			account = connect.Printable(st.Account)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", st.Source, account, st.stateWord(), st.Words)
		if refused := st.Source + ": " + st.RefusedRequest; st.RefusedRequest != "" && !slices.Contains(todo, refused) {
			todo = append(todo, refused)
		}
		if st.Remedy != "" && (st.exit() != exitFine || st.State == tokensource.StateLoginRequired) {
			todo = append(todo, connect.AccountName(st.Source, st.Account)+": "+st.Remedy)
		}
		if st.StorageError != "" {
			todo = append(todo, connect.AccountName(st.Source, st.Account)+": the storage says: "+connect.Printable(st.StorageError))
		}
		for _, warning := range st.Warnings {
			if !slices.Contains(todo, warning) { // it may be about all accounts of the source
				todo = append(todo, warning)
			}
		}
		if l := st.Login; l != nil {
			todo = append(todo, fmt.Sprintf("%s: open %s and type %s within %s", connect.AccountName(st.Source, st.Account),
				l.VerificationURI, l.UserCode, connect.Span(time.Until(l.Ends))))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if todo != nil {
		fmt.Fprintf(w, "\nWhat to do:\n  %s\n", strings.Join(todo, "\n  "))
	}
	return nil
}

// clear clears a terminal, so that the report replaces the one before.
func (r *statusReport) clear(w *os.File) {
	if term.IsTerminal(int(w.Fd())) {
		fmt.Fprint(w, "\x1b[H\x1b[2J")
	}
}

// printJSON prints a value for people and programs: addresses can be copied from it.
func printJSON(w io.Writer, value any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(value)
}
