package doctor

import (
	"cmp"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Running is what the running server says about the account.
type Running struct {
	// Unasked says why the server was not asked or did not answer. It is empty if the server answered.
	Unasked string
	// At names the server.
	At string
	// Words describe the account.
	Words string
	// Class and Remedy describe a problem of the account, or of requests that use it. Without a problem
	// they are empty.
	Class  tokensource.Class
	Remedy string
	// Error is the account's last error, or empty.
	Error string
	// Live is true if the server has a live token. Unsaved is true if that token is not in the storage.
	Live, Unsaved bool
	// StorageError is the storage's own error.
	StorageError string
	// RefusedRequest says why a request was refused not long ago.
	RefusedRequest string
}

// runningServer reports what the running server says. The server may have another token than doctor: it
// has its own environment, and may run an older configuration.
func (x *exam) runningServer() {
	const step = "server"
	r := x.Running
	if r.Unasked != "" {
		x.skip(step, "not asked: "+r.Unasked)
		return
	}
	if r.Unsaved {
		x.warn(step, "the running server ("+r.At+") has a token that is not stored",
			"do not restart or reload the server before its storage works again: "+cmp.Or(r.StorageError, "see the step storage"))
	} else if r.StorageError != "" {
		x.warn(step, "the storage of the running server ("+r.At+") fails: "+r.StorageError, cmp.Or(r.Remedy, storageRemedy))
	}
	if r.RefusedRequest != "" {
		x.fail(step, "the running server ("+r.At+"): "+r.RefusedRequest, cmp.Or(r.Remedy, "correct what the text names"))
		if r.Live && r.Error == "" { // only the request is wrong
			x.ok(step, "the account, at the running server: "+r.Words)
			return
		}
	}
	switch r.Class {
	case "":
		x.ok(step, "the running server ("+r.At+"): "+r.Words)
	case tokensource.ClassWait:
		x.warn(step, "the running server ("+r.At+"): "+r.Words, r.Remedy)
	default:
		x.fail(step, "the running server ("+r.At+"): "+r.Words, r.Remedy)
	}
}

// otherEnvironment reports a server without a token, although doctor has one.
func (x *exam) otherEnvironment() {
	if _, exchanges := x.Config.Grant.(tokensource.Exchanger); exchanges {
		return // the source has no token of its own
	}
	if r := x.Running; r.Unasked == "" && !r.Live && r.Class != tokensource.ClassLogin {
		x.warn("server", "doctor has a token, and the running server ("+r.At+") has none",
			"if it does not get one soon, it runs with another environment or an older configuration: restart it (a reload keeps its environment)")
	}
}
