package connect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

//go:embed *.html
var files embed.FS

var templates = template.Must(template.ParseFS(files, "*.html"))

// pageStyle is part of the page, so that the browser loads nothing else.
//
//go:embed style.css
var pageStyle template.CSS

// pageScript shows times in the browser's time zone, and updates the states. The page works without
// it. The policy allows this one script by its hash.
//
//go:embed page.js
var pageScript string

var pageScriptHash = hashOf(pageScript)

func hashOf(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// maxShownAccounts limits the accounts of a source on the page. Each is read from the storage.
const maxShownAccounts = 200

// view is the data of the page's template.
type view struct {
	Title   string
	Style   template.CSS
	Nonce   string
	Base    string // prefix of the forms' addresses
	CSRF    string
	Notice  *notice
	Sources []sourceView
	// User is the name of the user whose accounts these are, if Limited says that users see only
	// their own.
	User    string
	Limited bool
	Script  template.JS
	Confirm *confirmView
}

// confirmView is the question whether to disconnect an account.
type confirmView struct {
	Source, Account string
}

// sourceView is a row of the page.
type sourceView struct {
	Name, Title string
	Manual      bool
	Note        string
	Accounts    []accountView
	// New is the form for another account, if requests choose the account.
	New  *accountView
	More int // accounts that are not shown
}

// accountView is an account in a row, or the form for another one.
type accountView struct {
	ID        string // unique on the page
	Name      string // empty for the unnamed account
	State     tokensource.State
	Text      string
	Level     Level
	Expiry    time.Time
	Scope     string
	Connected bool
	// Working says that the account works without a new login.
	Working bool
	Fields  []fieldView
	// Device is the account's login with a code, if one is under way or has just failed.
	Device *deviceView
}

// fieldView is the field of a variable.
type fieldView struct {
	provider.Variable
	ID, Value string
}

// servePage shows the page.
func (p *Page) servePage(w http.ResponseWriter, r *http.Request) error {
	if elsewhere := p.canonical(r); elsewhere != "" {
		return seeOther(w, elsewhere)
	}
	query := r.URL.Query()
	v := view{Title: "Connected accounts", Base: p.base(), CSRF: csrfToken(w, r), Script: template.JS(pageScript)} //nolint:gosec // a file of this package
	v.User, v.Limited = userOf(r)
	if r.Method == http.MethodGet {
		v.Notice = takeNotice(query.Get("notice"))
	}
	status := syncedStatus
	if isRefresh(r) {
		status = storedStatus
	}
	for _, s := range p.Sources {
		if v.Limited {
			v.Sources = append(v.Sources, sourceView{Name: s.Name, Title: cmp.Or(s.Title, s.Name), Manual: s.manual(),
				Accounts: []accountView{newAccountView(r.Context(), s, v.User, status)}})
			continue
		}
		account := ""
		if query.Get("source") == s.Name {
			account = query.Get("account")
		}
		v.Sources = append(v.Sources, newSourceView(r.Context(), s, account, status))
	}
	return show(w, r, http.StatusOK, "page.html", v)
}

// canonical returns the address at which the page must be opened instead, or the empty string. The
// page must be opened elsewhere if providers send people back to another loopback name, because a
// browser keeps separate cookies for localhost and 127.0.0.1.
func (p *Page) canonical(r *http.Request) string {
	var pages []string
	for _, s := range p.Sources {
		if s.redirect() != "" {
			pages = append(pages, redirectPage(s.redirect()))
		}
	}
	pages = slices.Compact(pages)
	if len(pages) != 1 {
		return ""
	}
	u, err := url.Parse(pages[0])
	if err != nil {
		return ""
	}
	here, there := host.Name(r.Host), u.Hostname()
	bothLoopback := host.IsLoopback(there) && host.IsLoopback(here)
	if u.Path != p.shown(r, p.Path) || strings.EqualFold(there, here) || !bothLoopback {
		return ""
	}
	u.RawQuery = r.URL.RawQuery
	return u.String()
}

// statusFunc returns the state of an account, and an error if that state may be out of date.
type statusFunc func(ctx context.Context, s Source, account string) (tokensource.Status, error)

// syncedStatus reads the stored record, uses it if it is newer, and returns the state.
func syncedStatus(ctx context.Context, s Source, name string) (tokensource.Status, error) {
	account := s.Tokens.Account(name)
	err := account.Sync(ctx)
	return account.Status(), err
}

// storedStatus returns the state without using the account. So a page that stays open keeps no
// account in memory, and causes no token request. It returns the state in memory, unless the storage
// has a later decision of a person, or a live token that this process does not have.
func storedStatus(ctx context.Context, s Source, name string) (tokensource.Status, error) {
	stored, err := s.Tokens.Stored(ctx, name)
	if known, loaded := s.Tokens.Loaded(name); loaded {
		inUse := known.Status()
		decidedElsewhere := stored.Decided.After(inUse.Decided)
		onlyStoredLives := stored.Live && !inUse.Live
		if err != nil || (!decidedElsewhere && !onlyStoredLives) {
			return inUse, err
		}
	}
	return stored, err
}

func newSourceView(ctx context.Context, s Source, wanted string, status statusFunc) sourceView {
	v := sourceView{Name: s.Name, Title: cmp.Or(s.Title, s.Name), Manual: s.manual()}
	names, err := s.Tokens.Accounts(ctx)
	if err != nil {
		v.Note = "Some accounts are not shown. " + reasonOf(err)
	}
	if len(names) > maxShownAccounts {
		v.More = len(names) - maxShownAccounts
		names = names[:maxShownAccounts]
	}
	unnamed := newAccountView(ctx, s, "", status)
	if !s.PerAccount || (unnamed.State != tokensource.StateNone && unnamed.Connected) {
		v.Accounts = append(v.Accounts, unnamed)
	}
	for _, name := range names {
		v.Accounts = append(v.Accounts, newAccountView(ctx, s, name, status))
	}
	isNew := tokensource.CheckAccountName(wanted) == nil && !slices.Contains(names, wanted)
	if isNew && s.Tokens.OnDevice() {
		// A person connects this account now: the page shows the code for it.
		if first := newAccountView(ctx, s, wanted, status); first.Device != nil {
			v.Accounts = append(v.Accounts, first)
			isNew = false
		}
	}
	if s.PerAccount || len(names) > 0 || wanted != "" {
		v.New = &accountView{ID: s.Name + "-new", Fields: fields(s, s.Name+"-new", nil)}
		if isNew {
			v.New.Name = wanted
		}
	}
	return v
}

func newAccountView(ctx context.Context, s Source, name string, status statusFunc) accountView {
	st, failed := status(ctx, s, name)
	if failure, ok := errors.AsType[*tokensource.Error](failed); ok && st.Err == nil && st.Generation == 0 {
		st.Err, st.StorageErr = failure, failed // it is not known whether the account is connected
	}
	v := accountView{ID: s.Name + "-" + shortDigest(name), Name: name, State: st.State, Scope: st.Scope}
	v.Text, v.Level = Describe(st, time.Now())
	v.Connected = st.Live || (st.Generation > 0 && !st.Disconnected)
	v.Working = st.Live && !st.Refused && st.State != tokensource.StateLoginRequired
	if !st.Expiry.IsZero() && v.Connected {
		v.Expiry = st.Expiry.UTC()
	}
	if reason := reasonOf(failed); reason != "" && !saysReason(v.Text, reason) {
		v.Text += " " + reason
	}
	if failed != nil {
		v.Level = Bad
	}
	v.Fields = fields(s, v.ID, st.Variables)
	if s.Tokens.OnDevice() {
		v.Device = newDeviceView(ctx, s, name)
	}
	return v
}

// saysReason reports whether a text has the sentence of a reason, alone or within another sentence.
func saysReason(text, reason string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(strings.TrimSuffix(reason, ".")))
}

func fields(s Source, id string, values map[string]string) []fieldView {
	list := make([]fieldView, len(s.Variables))
	for i, v := range s.Variables {
		list[i] = fieldView{Variable: v, ID: id + "-" + v.Name, Value: values[v.Name]}
	}
	return list
}

func refuseMethod(w http.ResponseWriter, r *http.Request, allowed string) error {
	w.Header().Set("Allow", allowed)
	return refuse(w, r, http.StatusMethodNotAllowed, "This address does not take "+r.Method+".", "")
}

// refuse shows a message, with a link to the page at base unless that is empty.
func refuse(w http.ResponseWriter, r *http.Request, status int, message, base string) error {
	return show(w, r, status, "message.html", view{Title: "Not done", Notice: alert(message), Base: base})
}

// show renders a template, which escapes everything that comes from people, providers and the
// storage.
func show(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	v.Nonce, v.Style = rand.Text(), pageStyle
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, name, v); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; img-src data:; " +
		"style-src 'nonce-" + v.Nonce + "'"
	switch name {
	case "fragment.html":
		policy += "; script-src 'nonce-" + v.Nonce + "'"
	case "page.html":
		policy += "; script-src " + pageScriptHash + "; connect-src 'self'"
	}
	header.Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(page.Bytes())
	return err
}

// reasonOf returns the reason of an error of package tokensource as a sentence.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*tokensource.Error](err); ok {
		return sentence(e.Reason)
	}
	return ""
}
