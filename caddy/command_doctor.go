package caddy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/tokensource"
)

func doctorCommand() *cobra.Command {
	d := new(doctorRun)
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [<source>]",
		Short: "Gets one token, and says what to change if that fails",
		Long: `Gets one token of each source, or of one source, without a server. It says step by step what
happened and what to change. It checks the configuration and its secrets, the storage, the connection
to the provider (name, port, certificate, metadata), the client, the grant, the scopes, the lifetime,
the clock, the upstreams and the listeners.

If the storage has a live token, doctor uses that token. With --refresh, it requests a new one. It stores
a new refresh token by the same rules as a running server. If the storage does not work, it sends no
refresh token.

With --try-auth, doctor tries the other values of client_auth if the provider does not accept the
client. A provider may lock a client out after several failures. With --probe, it requests a URL of the
upstream with the token. --subject-token is a caller's token, for a source that exchanges such tokens.

The exit status is 0 if no step failed, and 1 otherwise. --json prints one object with three members.
"ok" is false if a step failed. Each of the "steps" has "source", "step", "status" (ok, warn, fail, skip),
"text" and "remedy". Each of the "changes" has "in", "remove" and "add". No secret is printed.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if len(args) == 1 {
				d.source = args[0]
			}
			return d.run(ctx, os.Stdout, asJSON)
		},
	}
	d.config.flags(cmd)
	d.config.accountFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.Flags().BoolVar(&d.options.TryAuth, "try-auth", false,
		"Try the other values of client_auth if the client is not accepted")
	cmd.Flags().BoolVar(&d.options.Refresh, "refresh", false, "Request a new token, also if there is a live one")
	cmd.Flags().StringVar(&d.subject, "subject-token", "",
		"The token of a caller, as {env.NAME} or {file./path}, for a source that exchanges it")
	cmd.Flags().StringVar(&d.options.Probe, "probe", "", "A URL of the upstream to request with the token")
	return cmd
}

// doctorRun is one run of the command.
type doctorRun struct {
	config  commandConfig
	options doctor.Options
	source  string // empty: all
	subject string // a placeholder; empty: none
	// users are those that the examination knows. The zero value means those of this machine.
	users doctor.Users
}

// run writes the report. Its error says that a step failed.
func (d *doctorRun) run(ctx context.Context, out io.Writer, asJSON bool) error {
	report := d.examine(ctx)
	write := report.WriteText
	if asJSON {
		write = report.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	if !report.OK {
		return errors.New("a step failed")
	}
	return nil
}

func (d *doctorRun) examine(ctx context.Context) *doctor.Report {
	report := doctor.NewReport()
	add := func(status doctor.Status, text, remedy string) *doctor.Report {
		report.Add(doctor.Step{Name: "configuration", Status: status, Text: text, Remedy: remedy})
		return report
	}
	if d.subject != "" {
		if !onePlaceholder.MatchString(d.subject) {
			return add(doctor.Fail, "--subject-token is no placeholder, and other users can read the arguments of a command",
				"write the token into an environment variable or a file, and give {env.NAME} or {file./path}")
		}
		d.options.Subject = value(d.subject)
	}
	raw, err := d.config.read()
	if err != nil {
		d.config.misconfigured(report, err, false)
		return report
	}
	if d.config.caddyfile != "" {
		report.Caddyfile(d.config.caddyfile)
	}
	config := d.config.survey()
	running := d.config.runningAt(ctx, config)
	users := knownUsers(d.users, running, config.listeners())
	var invalid error
	if json.Valid(raw) { // else load says that best
		invalid = validateWithout(func(dir string) bool {
			_, err := os.Stat(dir)
			return users.Foreign(dir) != nil || errors.Is(err, fs.ErrNotExist)
		}, raw)
	}
	app, err := d.config.load()
	if errors.As(err, new(misspelledAppError)) {
		invalid = nil // it follows from the misspelled name
	}
	if err := cmp.Or(invalid, err); err != nil {
		d.config.misconfigured(report, err, invalid != nil)
	}
	if err != nil {
		return report
	}
	names := slices.Sorted(maps.Keys(app.pooled))
	if d.source != "" {
		if _, _, err := app.source(d.source); err != nil {
			return add(doctor.Fail, err.Error(), "name a source of the configuration")
		}
		names = []string{d.source}
	}
	switch {
	case len(names) == 0:
		return add(doctor.Fail, "no sources are configured",
			"add a source to the global option authinject. caddy authinject init <url> writes one for an API")
	case len(names) > 1 && (d.options.Probe != "" || d.config.account != ""):
		return add(doctor.Fail, "--probe and --account belong to one source",
			"name the source: caddy authinject doctor <source>")
	}
	for _, key := range app.EncryptionKeys {
		if secret, err := value(key)(ctx); err == nil {
			report.Hide(secret.Reveal())
		}
	}
	if invalid == nil {
		add(doctor.OK, d.config.file+" is valid", "")
		for _, v := range d.config.replaced("") {
			add(doctor.Warn, v.String()+": Caddy reads nothing in its place", v.remedy())
		}
	}
	doctor.Listeners(ctx, config.listeners(), running, report)
	server := d.askServer(ctx)
	for _, name := range names {
		patient, err := app.patient(ctx, name, d.config.account, config)
		if err != nil {
			remedy := "correct the option that the error names"
			if flag, ok := errors.AsType[accountFlagError](err); ok {
				remedy = flag.remedy
			}
			report.Add(doctor.Step{Source: name, Name: "configuration", Status: doctor.Fail, Text: err.Error(), Remedy: remedy})
			continue
		}
		patient.Running = server.of(name, d.config.account)
		patient.Users, patient.Foreign = users, users.Foreign(patient.StorageDir)
		if d.config.account == "" {
			patient.Others = server.others(ctx, app, name, patient.Foreign != nil)
		}
		app.guards(name, config, invalid != nil, report)
		if redirect := app.Sources[name].redirect; app.around.isStray(name, redirect) {
			report.Add(doctor.Step{Source: name, Name: "redirect_url", Status: doctor.Warn,
				Text: strayRedirect + ": " + redirect, Remedy: strayRedirectRemedy})
		}
		doctor.Examine(ctx, patient, d.options, report)
	}
	return report
}

// validateWithout validates a configuration without writing to the directories of storages for
// which leave returns true: some modules store keys when they are set up. Such a storage is
// replaced by a directory that is removed.
func validateWithout(leave func(dir string) bool, raw []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var config map[string]any
	if err := decoder.Decode(&config); err != nil || config == nil {
		return validate(raw)
	}
	var replaced []map[string]any
	eachObject(config, func(part map[string]any) {
		root, _ := part["root"].(string)
		if part["module"] == "file_system" && leave(cmp.Or(root, caddy.AppDataDir())) {
			replaced = append(replaced, part)
		}
	})
	if config["storage"] == nil && leave(caddy.AppDataDir()) {
		storage := map[string]any{"module": "file_system"}
		config["storage"], replaced = storage, append(replaced, storage)
	}
	if replaced == nil {
		return validate(raw)
	}
	directory, err := os.MkdirTemp("", "authinject-doctor-")
	if err != nil {
		return fmt.Errorf("making a directory for the validation: %w", err)
	}
	defer func() { _ = os.RemoveAll(directory) }() // what is left there is of no use
	for _, storage := range replaced {
		storage["root"] = directory
	}
	changed, _ := json.Marshal(config) // it was decoded from JSON
	return validate(changed)
}

// runningServer is the answer of the running server. If the server did not answer, why says so.
type runningServer struct {
	at, why  string
	accounts []accountStatus
}

// askServer asks the running server for the state of all accounts.
func (d *doctorRun) askServer(ctx context.Context) runningServer {
	q := statusQuery{commandConfig: d.config}
	at, configured, err := q.server()
	switch {
	case err != nil:
		return runningServer{why: err.Error()}
	case at == "":
		return runningServer{why: "the configuration turns the admin API off"}
	}
	list, why, err := q.askServer(ctx, at, configured)
	if why == "" && list == nil && err != nil {
		why = err.Error()
	}
	return runningServer{"admin API at " + at, why, list}
}

// of returns what the server says about an account.
func (s runningServer) of(source, account string) doctor.Running {
	if s.why != "" {
		return doctor.Running{Unasked: s.why}
	}
	for _, st := range s.accounts {
		if st.Source == source && st.Account == account {
			return runningAccount(s.at, st)
		}
	}
	return doctor.Running{Unasked: "the running server (" + s.at + ") has no state of this account"}
}

// runningAccount returns what a server says about an account.
func runningAccount(at string, st accountStatus) doctor.Running {
	r := doctor.Running{
		At: at, Words: st.Words, Class: st.Class, Problem: st.Problem, Error: st.Error, Remedy: st.Remedy,
		Live: st.Live, Unsaved: st.Unsaved, StorageError: st.StorageError,
	}
	if last := st.LastLogin; last != nil {
		r.FailedLogin = doctor.Trouble{Text: st.bare(last.Error, last.Remedy), Remedy: last.Remedy,
			Fails: last.Class == tokensource.ClassOperator}
	}
	if st.RefusedRequest != "" { // the state of the account is that of the request
		r.Class, r.Problem, r.Error, r.Remedy = "", "", "", ""
	}
	for i, problem := range st.Problems {
		switch {
		case i == 0 && st.RefusedRequest != "":
			text := st.bare(st.RefusedRequest, problem.Remedy)
			r.Troubles = append(r.Troubles, doctor.Trouble{Text: text, Remedy: problem.Remedy, Fails: true})
		case strings.Contains(st.Error, problem.Error): // it is the account's own
			r.Class, r.Problem, r.Error, r.Remedy = problem.Class, problem.Problem, problem.Error, problem.Remedy
		case problem.Problem == "unsaved", strings.HasPrefix(problem.Problem, "storage_"): // StorageError says it
		default:
			text := st.bare(problem.Error, problem.Remedy)
			r.Troubles = append(r.Troubles, doctor.Trouble{Problem: problem.Problem, Text: text, Remedy: problem.Remedy})
		}
	}
	return r
}

// bare returns the text of an error of the account without its names, and without the
// remedy at its end.
func (s accountStatus) bare(text, remedy string) string {
	_, text = s.withoutName(text)
	return withoutRemedy(text, remedy)
}

// others returns the named accounts of a source, from the running server or else from the storage.
// A storage of another user is not read: a look at its logins removes those that have ended.
func (s runningServer) others(ctx context.Context, app *loadedApp, source string, foreign bool) (list []doctor.Other) {
	accounts := s.accounts
	if s.why != "" {
		if foreign {
			return nil
		}
		accounts, _ = app.stored(ctx, source, "", false) // the examination reports the error
	}
	for _, st := range accounts {
		if st.Source != source || st.Account == "" {
			continue
		}
		other := doctor.Other{Account: st.Account, Wanted: !st.Wanted.IsZero() && st.LastLogin == nil}
		exit := st.exit()
		switch {
		case st.Disconnected: // a person wanted that
		case exit == exitLogin:
			other.Words = st.Words
		case !st.Wanted.IsZero(), st.From == fromServer && st.Class != "", exit == exitOperator:
			other.Words, other.Remedy = st.Words, st.Remedy
		case st.From == fromServer && exit != exitFine:
			other.Words, other.Remedy = st.Words, "wait, or see caddy authinject status"
		}
		list = append(list, other)
	}
	return list
}
