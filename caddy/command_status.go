package caddy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/authinject/caddy-authinject/caddy/connect"
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
wrong. It asks the running server through its admin API. If no server answers, or with --storage, it
reads the storage. The first line says where the state comes from. The storage does not have the tokens
of grants such as client_credentials, because only a running server keeps them.

The exit status follows the worst state:
  0  every account is fine
  1  an account must be connected, a refresh token must be replaced, or the configuration cannot be loaded
  2  the configuration must be changed
  3  an account has no token at the moment, or its token is not stored; a running server tries again by itself`,
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
				if watch && again(cmd.Context()) {
					continue
				}
				return exitWith(cmd, report)
			}
		},
		ValidArgsFunction: q.completeSources(false),
	}
	q.flags(cmd)
	q.addressFlag(cmd)
	cmd.Flags().StringVar(&q.account, "account", "", "Only this account")
	cmd.Flags().BoolVar(&q.stored, "storage", false, "Read the storage, even if a server runs")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print a list in JSON, whose member from is server or storage")
	cmd.Flags().BoolVar(&watch, "watch", false, "Print the state again every 2 seconds, until interrupted")
	return cmd
}

// exitWith ends a command with the exit status of the report.
func exitWith(cmd *cobra.Command, report *statusReport) error {
	status, words := report.exit()
	switch status {
	case exitFine:
		return nil
	case exitFailed:
		return errors.New(words)
	}
	fmt.Fprintln(os.Stderr, "Error: "+words)
	cmd.SilenceErrors = true // Caddy would log it
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, nil })(cmd, nil)
}

// exit returns the exit status of the report, and what it says in words.
func (r *statusReport) exit() (status int, words string) {
	if r.refused != nil { // no server can start, so nothing is tried again
		return exitFailed, "Caddy does not load the configuration"
	}
	status, words = exitOf(r.accounts)
	if r.failed != nil {
		if status == exitFine {
			status = exitFailed
		}
		return status, r.failed.Error()
	}
	if r.silent && r.process == "" && len(r.taken) > 0 && urgency[status] <= urgency[exitWait] {
		return exitOperator, "no server answers, and another process has an address of the configuration"
	}
	return status, words
}

// again waits for the next round of status --watch, and reports whether there is one.
func again(ctx context.Context) bool {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	select {
	case <-time.After(2 * time.Second):
		return true
	case <-ctx.Done():
		return false
	}
}

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
		name, account := connect.AccountName(st.Source, st.Account), "-"
		if st.Account != "" {
			account = connect.Printable(st.Account)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", st.Source, account, st.stateWord(), st.Words)
		if refused := st.Source + ": " + st.RefusedRequest; st.RefusedRequest != "" && !slices.Contains(todo, refused) {
			todo = append(todo, refused)
		}
		warnings := st.distinctWarnings()
		said := slices.ContainsFunc(warnings, func(warning string) bool { return strings.HasSuffix(warning, st.Remedy) })
		if st.Remedy != "" && !said {
			todo = append(todo, name+": "+st.Remedy)
		}
		if st.LoginURL != "" {
			todo = append(todo, name+": the page is "+st.LoginURL)
		}
		for _, warning := range warnings {
			if name, rest := st.withoutName(warning); name != "" {
				warning = name + ": " + rest
			}
			if !slices.Contains(todo, warning) { // it may be about all accounts of the source
				todo = append(todo, warning)
			}
		}
		if st.StorageError != "" {
			todo = append(todo, name+": the storage says: "+connect.Printable(st.StorageError))
		}
		if l := st.Login; l != nil {
			todo = append(todo, fmt.Sprintf("%s: open %s and type %s within %s", name, l.VerificationURI, l.UserCode,
				connect.Span(time.Until(l.Ends))))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	todo = append(todo, r.taken...)
	if r.refused != nil {
		todo = append(todo, "correct the configuration, because Caddy does not load it: "+r.refused.Error())
	}
	switch {
	case r.process != "" && len(r.taken) == 0:
		todo = append(todo, fmt.Sprintf("name the address of the server's admin API with --address: process %s is the "+
			"server of this configuration, and it does not answer at the address of the configuration", r.process))
	case r.silent && r.process == "":
		todo = append(todo, "start the server with caddy run. If it does not start, caddy authinject doctor shows why")
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
