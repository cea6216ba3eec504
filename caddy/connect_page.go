package caddy

import (
	"bytes"
	"context"
	"crypto/rand"
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

//go:embed connect/*.html connect/*.css
var connectFiles embed.FS

var connectTemplates = template.Must(template.ParseFS(connectFiles, "connect/*.html"))

// connectStyle is inlined, so that the page is one answer and nothing else is loaded.
var connectStyle = func() template.CSS {
	style, err := connectFiles.ReadFile("connect/style.css")
	if err != nil {
		panic(err) // it is embedded
	}
	return template.CSS(style) //nolint:gosec // our own file
}()

// The names of the button that leads to the provider: on an account that has to be connected, and
// on an account that works.
const (
	connectButton   = "Connect"
	reconnectButton = "Reconnect"
)

// maxShownAccounts bounds the accounts of a source on the page, each of which is read
// from the storage.
const maxShownAccounts = 200

// view is what the page's template gets.
type view struct {
	Title   string
	Style   template.CSS
	Nonce   string
	Base    string // prefix of the forms' addresses
	CSRF    string
	Notice  *notice
	Sources []sourceView
}

// sourceView is a row of the page.
type sourceView struct {
	Name, Title string
	Typed       bool
	Notes       string
	Accounts    []accountView
	// New is the form for a further account, where accounts are chosen per request.
	New  *accountView
	More int // accounts that are not shown
}

// accountView is an account in a row, or the one to come.
type accountView struct {
	ID        string // unique on the page
	Name      string // empty for the unnamed account
	Named     bool
	State     tokensource.State
	Words     string
	Mood      mood
	Expiry    string
	Scope     string
	Connected bool
	// Button is the name of the button that leads to the provider. Working says that the account
	// works without a new login.
	Button  string
	Working bool
	Fields  []fieldView
}

// fieldView is the field of a variable.
type fieldView struct {
	provider.Variable
	ID, Value string
}

// servePage shows the page.
func (h *ConnectHandler) servePage(w http.ResponseWriter, r *http.Request) error {
	if elsewhere := h.canonical(r); elsewhere != "" {
		return seeOther(w, elsewhere)
	}
	query := r.URL.Query()
	v := view{Title: "Connected accounts", Base: h.base(), CSRF: csrfToken(w, r)}
	if r.Method == http.MethodGet {
		v.Notice = takeNotice(query.Get("notice"))
	}
	for _, s := range h.sources {
		account := ""
		if query.Get("source") == s.name {
			account = query.Get("account")
		}
		v.Sources = append(v.Sources, h.sourceView(r.Context(), s, account))
	}
	return show(w, r, http.StatusOK, "page.html", v)
}

// canonical is where the page has to be opened instead, if providers send people back to another
// name of this machine than the one in use: cookies belong to a name. Empty: here.
func (h *ConnectHandler) canonical(r *http.Request) string {
	var pages []string
	for _, s := range h.sources {
		if redirect := s.cfg.endpoints.redirect; redirect != "" && redirect != redirectManual {
			pages = append(pages, redirectPage(redirect))
		}
	}
	pages = slices.Compact(pages)
	if len(pages) != 1 {
		return ""
	}
	u, err := url.Parse(pages[0])
	if err != nil || u.Path != shownPath(r, h.Path) || strings.EqualFold(u.Hostname(), host.Name(r.Host)) || !host.IsLoopback(u.Hostname()) || !host.IsLoopback(host.Name(r.Host)) {
		return ""
	}
	u.RawQuery = r.URL.RawQuery
	return u.String()
}

func (h *ConnectHandler) sourceView(ctx context.Context, s connectSource, wanted string) sourceView {
	v := sourceView{Name: s.name, Title: s.cfg.preset.Title, Typed: s.cfg.endpoints.redirect == redirectManual}
	if v.Title == "" {
		v.Title = s.name
	}
	names, err := s.source.Accounts(ctx)
	if err != nil {
		v.Notes = "Accounts are missing here: " + reasonOf(err)
	}
	if len(names) > maxShownAccounts {
		v.More = len(names) - maxShownAccounts
		names = names[:maxShownAccounts]
	}
	perAccount := h.app.routes.perAccount[s.name]
	unnamed := h.accountView(ctx, s, "")
	if !perAccount || unnamed.State != tokensource.StateNone && unnamed.Connected {
		v.Accounts = append(v.Accounts, unnamed)
	}
	for _, name := range names {
		v.Accounts = append(v.Accounts, h.accountView(ctx, s, name))
	}
	if perAccount || len(names) > 0 || wanted != "" {
		v.New = &accountView{ID: s.name + "-new", Named: true, Button: connectButton, Fields: fields(s, s.name+"-new", nil)}
		if tokensource.CheckAccountName(wanted) == nil && !slices.Contains(names, wanted) {
			v.New.Name = wanted
		}
	}
	return v
}

func (h *ConnectHandler) accountView(ctx context.Context, s connectSource, name string) accountView {
	account := s.source.Account(name)
	failed := account.Sync(ctx)
	st := account.Status()
	v := accountView{ID: s.name + "-" + shortDigest(name), Name: name, Named: name != "", State: st.State, Scope: st.Scope}
	v.Words, v.Mood = words(st, time.Now())
	v.Connected = st.Live || st.Generation > 0 && !st.Disconnected
	v.Working = st.Live && !st.Refused && st.State != tokensource.StateLoginRequired
	if v.Button = connectButton; v.Working {
		v.Button = reconnectButton
	}
	if !st.Expiry.IsZero() && v.Connected {
		v.Expiry = st.Expiry.UTC().Format("2006-01-02 15:04 UTC")
	}
	if failed != nil {
		v.Words, v.Mood = v.Words+" "+reasonOf(failed), moodBad
	}
	v.Fields = fields(s, v.ID, st.Variables)
	return v
}

func fields(s connectSource, id string, values map[string]string) []fieldView {
	list := make([]fieldView, len(s.cfg.perAccount))
	for i, v := range s.cfg.perAccount {
		list[i] = fieldView{Variable: v, ID: id + "-" + v.Name, Value: values[v.Name]}
	}
	return list
}

// serveFragment shows a page that reads the answer from where no server can see it, and
// brings it to the callback (RFC 6749 section 4.2.2).
func (h *ConnectHandler) serveFragment(w http.ResponseWriter) error {
	return show(w, nil, http.StatusOK, "fragment.html", view{Title: "Connecting …", Base: h.base()})
}

// refuse shows a page with a message.
func (h *ConnectHandler) refuse(w http.ResponseWriter, r *http.Request, status int, message string) error {
	v := view{Title: "Not done", Notice: alert(message)}
	if status == http.StatusBadRequest || status == http.StatusForbidden && h.admit(r) == "" {
		v.Base = h.base()
	}
	return show(w, r, status, "message.html", v)
}

// show renders a template. What it shows comes from people, providers and the storage: the
// template escapes it.
func show(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	v.Nonce, v.Style = base64.StdEncoding.EncodeToString(raw), connectStyle
	var page bytes.Buffer
	if err := connectTemplates.ExecuteTemplate(&page, name, v); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; img-src data:; style-src 'nonce-" + v.Nonce + "'"
	if name == "fragment.html" {
		policy += "; script-src 'nonce-" + v.Nonce + "'"
	}
	header.Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	if r != nil && r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(page.Bytes())
	return err
}

// reasonOf is the reason of an error of package tokensource, as a sentence.
func reasonOf(err error) string {
	var e *tokensource.Error
	if errors.As(err, &e) {
		return sentence(e.Reason)
	}
	return ""
}
