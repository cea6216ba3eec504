package caddy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/tokensource"
)

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
	silent   bool     // no server answered, although one was asked
	failed   error    // why accounts may be missing: the storage or a record cannot be read
	refused  error    // why Caddy refuses the configuration, if no server answered
	taken    []string // addresses of the configuration that other processes have, and what to do
	process  string   // of the server of this configuration, if no server answered and it is known
}

// ask asks the running server, or reads the storage if no server runs. If the report is nil, the
// error says why nothing is known. Otherwise the error is about the configuration.
func (q *statusQuery) ask(ctx context.Context) (*statusReport, error) {
	at, configured, unread := q.server()
	if unread != nil && (at == "" || q.stored) {
		return nil, unread
	}
	why := "the configuration turns the admin API off"
	if q.stored {
		at, why = "", ""
	}
	var running *statusReport
	if at != "" {
		list, reason, err := q.askServer(ctx, at, configured)
		why, running = reason, &statusReport{accounts: list, server: at}
		switch {
		case list == nil && err != nil:
			return nil, errors.Join(err, unread)
		case why == "":
			running.taken, running.failed = q.shared(ctx, at, list), err
			return running, unread
		case unread != nil:
			return nil, unread
		}
		if configured == nil && q.file == "" {
			if _, err := os.Stat(defaultConfig); err != nil {
				return nil, fmt.Errorf("%s, and there is no Caddyfile in the working directory; "+
					"name the server with --address, or the configuration with --config", why)
			}
		}
	}
	app, err := q.load()
	switch {
	case err != nil && running != nil && running.accounts != nil:
		return running, err // the server runs another configuration, and this one cannot replace it
	case err != nil:
		return nil, err
	}
	report := &statusReport{accounts: []accountStatus{}, why: why, silent: running != nil && running.accounts == nil}
	if report.silent {
		report.refused = validateWithout(func(string) bool { return true }, q.raw)
		report.taken, report.process = q.taken(ctx)
	}
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
	report.failed = errors.Join(failed...)
	return report, nil
}

// taken returns which addresses of the configuration other processes have, each with what to do, and
// the process of the server of this configuration, if it is known.
func (q *statusQuery) taken(ctx context.Context) (texts []string, process string) {
	config := q.survey()
	server := q.runningAt(ctx, config)
	for _, l := range config.listeners() {
		text, ours := server.Taken(l)
		process = cmp.Or(process, ours)
		if text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts, process
}

// shared returns which addresses of the configuration several processes have, and what to do: each
// process answers a part of the requests. It leaves out the addresses of sites that the server's own
// warnings name. With the flag --address, only the address of the admin API is known.
func (q *statusQuery) shared(ctx context.Context, admin string, accounts []accountStatus) (texts []string) {
	config := new(surveyed)
	listeners := []doctor.Listener{{Network: "tcp", Address: admin, Use: doctor.AdminUse}}
	if q.address == "" {
		config = q.survey()
		listeners = config.listeners()
	}
	server := q.runningAt(ctx, config)
	for _, l := range listeners {
		warned := slices.ContainsFunc(accounts, func(st accountStatus) bool {
			return slices.ContainsFunc(st.Warnings, func(text string) bool { return strings.HasPrefix(text, sharedBegin(l.Address)) })
		})
		if (l.Admin() || !warned) && server.Shares(l) {
			text, _ := server.Taken(l)
			texts = append(texts, text)
		}
	}
	return texts
}

// server returns the address of the admin API and the names of the configured sources. The address
// is empty if the admin API is off. The names are nil if there is no configuration to read. If the
// configuration cannot be read, the error says so, and the address is the likely one of a server
// that still runs an earlier configuration.
func (q *statusQuery) server() (at string, sources []string, err error) {
	if _, err := os.Stat(defaultConfig); q.file == "" && err != nil {
		at, err = q.adminAddress()
		return at, nil, err
	}
	if _, err := q.read(); err != nil {
		return q.likelyAdmin(), nil, err
	}
	config := q.survey()
	sources = slices.AppendSeq([]string{}, maps.Keys(config.Apps.App.Sources))
	if config.Admin.Disabled && q.address == "" {
		return "", sources, nil
	}
	at, err = q.adminAddress()
	return at, sources, err
}

// adminLine matches the global option admin of a Caddyfile, if it names an address.
var adminLine = regexp.MustCompile(`(?m)^[ \t]*admin[ \t]+([^\s{}]*:\d+)[ \t]*\{?[ \t]*$`)

// likelyAdmin returns the address of the admin API, if the configuration cannot be read: the
// flag's, the one in the text of the Caddyfile, or the default. It is empty if there is no file,
// which may have another name.
func (q *statusQuery) likelyAdmin() string {
	if q.address == "" && q.caddyfile == "" {
		return ""
	}
	configured := ""
	if found := adminLine.FindStringSubmatch(q.caddyfile); found != nil {
		configured = found[1]
	}
	return cmp.Or(q.address, configured, caddy.DefaultAdminListen)
}

// askServer asks the server at an address. why says why its answer is not used.
func (q *statusQuery) askServer(ctx context.Context, at string,
	configured []string) (list []accountStatus, why string, err error) {
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
			why = fmt.Sprintf("the server at %s runs another configuration", at)
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
	case !found && why != "":
		return []accountStatus{}, why, nil
	case !found:
		return nil, "", unknownSource(q.source, names)
	case why == "" && q.one && len(list) == 0 && q.source != "":
		// The list of a source is limited.
		var st accountStatus
		if err := getAdmin(ctx, at, accountPath(q.source, q.account), &st); err != nil {
			return nil, "", err
		}
		st.From = fromServer
		list = append(list, st)
	}
	return list, why, errors.Join(failed...)
}

// From where the state is known.
const (
	fromServer  = "server"
	fromStorage = "storage"
)

// storageName names a storage to a person.
func storageName(storage tokensource.Storage) string {
	if files, ok := storage.(occupied); ok {
		return files.directory
	}
	if named, ok := storage.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("%T", storage)
}

// stored returns the accounts of a source from the storage. With an error, it returns those that
// can be read.
func (a *loadedApp) stored(ctx context.Context, name, account string, one bool) ([]accountStatus, error) {
	pooled, grant := a.pooled[name], a.Sources[name].grantName
	if pooled.source.Exchanges() {
		st := newAccountStatus(tokensource.Status{Source: name, Exchanges: true, Renews: true}, grant)
		st.State, st.From = tokensource.StateNone, fromStorage
		return []accountStatus{st}, nil
	}
	if !pooled.source.Traits().Stored {
		return []accountStatus{{
			Source: name, Grant: grant, State: tokensource.StateNone, Renews: pooled.source.Traits().Renews,
			Words: "Only a running server has the token, in its memory. No login is needed.",
			From:  fromStorage,
		}}, nil
	}
	accounts := []string{account}
	var failed error
	if !one {
		var named []string
		named, failed = pooled.source.Accounts(ctx)
		failed = withCause(failed)
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
