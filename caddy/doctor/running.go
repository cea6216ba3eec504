package doctor

import (
	"cmp"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Running is what the running server says about the account.
type Running struct {
	// Unasked says why the server was not asked or did not answer. It is empty if the server
	// answered.
	Unasked string
	// At names the server.
	At string
	// Words describe the account.
	Words string
	// Class and Remedy describe a problem of the account itself. Without a problem they are empty.
	Class  tokensource.Class
	Remedy string
	// Problem is that problem in one word.
	Problem string
	// Error is the account's last error, or empty.
	Error string
	// Live is true if the server has a live token. Unsaved is true if that token is not in the
	// storage.
	Live, Unsaved bool
	// StorageError is the storage's own error.
	StorageError string
	// Troubles are the other problems: those of requests, of upstreams, and of addresses.
	Troubles []Trouble
	// FailedLogin is the account's last login, if it failed.
	FailedLogin Trouble
}

// Trouble is a problem that the running server reports.
type Trouble struct {
	// Problem is the problem in one word, or empty.
	Problem      string
	Text, Remedy string
	// Fails says that requests are refused until an operator acts.
	Fails bool
}

// runningServer reports what the running server says. The server may have another token than
// doctor: it has its own environment, and may run an older configuration.
func (x *exam) runningServer() {
	const step = "server"
	r := x.Running
	if r.Unasked != "" {
		x.skip(step, "the running server says nothing about the account: "+r.Unasked)
		return
	}
	if r.Unsaved {
		x.warn(step, "the running server ("+r.At+") has a token that is not stored",
			"do not restart or reload the server before its storage works again: "+
				cmp.Or(r.StorageError, "see the step storage"))
	} else if r.StorageError != "" {
		x.warn(step, "the storage of the running server ("+r.At+") fails: "+r.StorageError, cmp.Or(r.Remedy, x.writableRemedy()))
	}
	at := "the running server (" + r.At + "): "
	for _, trouble := range r.Troubles {
		status := Warn
		if trouble.Fails {
			status = Fail
		}
		x.add(status, step, at+trouble.Text, cmp.Or(trouble.Remedy, "correct what the text names"))
	}
	switch {
	case r.Class == "" && (r.Unsaved || r.StorageError != ""): // the lines above say it
	case r.Class == "" && len(r.Troubles) > 0:
		words, _, _ := strings.Cut(r.Words, " But ") // the lines above say what follows
		x.ok(step, "the account at the running server: "+words)
	case r.Class == "":
		x.ok(step, at+r.Words)
	case r.Class == tokensource.ClassWait:
		x.warn(step, at+r.Words, r.Remedy)
	case r.Class == tokensource.ClassLogin && x.noLogin:
		x.fail(step, at+r.Words, "correct first what the steps before name, because a login would fail")
	default:
		x.fail(step, at+r.Words, r.Remedy)
	}
}

// unreadable are the problems of a server that cannot read a secret.
var unreadable = []string{"client_secret", "client_key", "grant_key", "client_assertion", "token_empty", "value"}

// without reports a server without a token, although doctor has one, and why that can be.
func (x *exam) without() {
	if _, exchanges := x.Config.Grant.(tokensource.Exchanger); exchanges {
		return // the source has no token of its own
	}
	r := x.Running
	if r.Unasked != "" || r.Live || r.Class == tokensource.ClassLogin {
		return
	}
	remedy := "restart the server, if it does not get a token soon. It may have another environment or an older " +
		"configuration, and a reload keeps its environment"
	file := x.fileOf(r.Error)
	switch {
	case slices.Contains(unreadable, r.Problem) && file != "":
		remedy = "let the user that runs the server read " + file + ". The server may not be allowed to do that"
	case slices.Contains(storageTroubles, r.Problem):
		remedy = cmp.Or(r.Remedy, x.writableRemedy())
	case r.Problem == "locked_out": // a request would prolong it
		remedy = r.Remedy
	case r.Class == tokensource.ClassWait:
		remedy = "wait. The server asks again by itself. To make it ask at once, run " + x.command("refresh")
	}
	x.warn("server", "doctor has a token, and the running server ("+r.At+") has none", remedy)
}

// storageTroubles are the problems with the server's storage.
var storageTroubles = []string{"storage_unwritable", "storage_unreadable"}

// fileOf returns the file of a secret that an error names. If the error names no file, it returns
// the only file that a secret is read from. If there are several files, or no file, it returns "".
func (x *exam) fileOf(text string) string {
	var files []string
	for _, s := range x.Secrets {
		path, ok := strings.CutPrefix(s.From, "{file.")
		if path = strings.TrimSuffix(path, "}"); !ok {
			continue
		}
		if strings.Contains(text, path) {
			return path
		}
		files = append(files, path)
	}
	if len(files) == 1 && len(x.Secrets) == 1 {
		return files[0]
	}
	return ""
}
