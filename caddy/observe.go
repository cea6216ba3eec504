package caddy

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/authinject/caddy-authinject/tokensource"
)

// observer returns a function that counts, logs and emits the events of sources.
func (a *App) observer() tokensource.Observer {
	return func(e tokensource.Event) {
		countEvent(e)
		if a.isWorthLogging(e) {
			a.log(e)
		}
		a.emit(e)
	}
}

// logPanic logs the stack of a module that panicked.
func (a *App) logPanic(e tokensource.Event) {
	if _, broken := errors.AsType[*tokensource.PanicError](e.Err); broken {
		a.log(e)
	}
}

// messages are the log lines, one per kind of event. See storageMessage for EventStorageFailed.
var messages = map[tokensource.EventKind]string{
	tokensource.EventRefreshed:      "token obtained",
	tokensource.EventRefreshFailed:  "obtaining a token failed",
	tokensource.EventRefused:        "an upstream refused the token",
	tokensource.EventSubjectRefused: "the provider refused the token of a caller",
	tokensource.EventLoginRequired:  "login required: the account has to be connected",
	tokensource.EventLoginFailed:    "a login failed",
	tokensource.EventRecovered:      "token source recovered",
	tokensource.EventConnected:      "account connected",
	tokensource.EventDisconnected:   "account disconnected",
	tokensource.EventAdopted:        "newer token found in the storage",

	tokensource.EventStorageRecovered: "the storage works again",

	tokensource.EventRevocationFailed: "the provider did not confirm that it revoked tokens; the account was disconnected",

	tokensource.EventEndpointsElsewhere: "the issuer's metadata names endpoints on other hosts; token requests and " +
		"logins go there",
}

// level returns the log level of an event: a warning if the failure may pass by itself, and an
// error if a person must act.
func level(e tokensource.Event) zapcore.Level {
	if e.Subject && e.Kind != tokensource.EventRefreshFailed {
		return zapcore.DebugLevel // callers cause such events at will; a refused request is logged, too
	}
	switch e.Kind {
	case tokensource.EventRefreshFailed:
		if class(e.Err) == tokensource.ClassWait {
			return zapcore.WarnLevel
		}
		return zapcore.ErrorLevel
	case tokensource.EventRefused:
		if e.Err != nil {
			return zapcore.ErrorLevel
		}
		return zapcore.WarnLevel
	case tokensource.EventRevocationFailed:
		return zapcore.WarnLevel
	case tokensource.EventLoginFailed:
		switch class(e.Err) {
		case tokensource.ClassOperator:
			return zapcore.ErrorLevel
		case tokensource.ClassWait:
			return zapcore.WarnLevel
		}
		return zapcore.InfoLevel // denied or mistyped: the person knows it
	case tokensource.EventLoginRequired:
		failure, ok := errors.AsType[*tokensource.Error](e.Err)
		if e.New && (!ok || !failure.NeedsRefreshToken()) {
			return zapcore.WarnLevel // an account that no person has connected yet
		}
		return zapcore.ErrorLevel
	case tokensource.EventStorageFailed:
		return zapcore.ErrorLevel
	}
	if e.Kind == tokensource.EventRefreshed && (e.Failure != nil || len(e.MissingScopes) > 0) {
		return zapcore.WarnLevel
	}
	return zapcore.InfoLevel
}

// class returns the class of an error of package tokensource, or an empty text.
func class(err error) tokensource.Class {
	if e, ok := errors.AsType[*tokensource.Error](err); ok {
		return e.Class
	}
	return ""
}

// storageMessage returns the log line for a storage that fails. The line says what happens to the
// token.
func storageMessage(e tokensource.Event) string {
	switch {
	case e.Failure != nil && e.Failure.Problem() == "token_lost":
		return storageLost
	case e.Failure != nil && e.Failure.Problem() == "disconnection_lost":
		return storageKept
	case !e.Live:
		return storageNoToken
	case e.Failure != nil && e.Failure.Unsaved():
		return storageUnsaved
	}
	return storageServes
}

const (
	storageServes  = "the storage is in trouble; the token in memory serves"
	storageUnsaved = "the storage is in trouble; the newest token is only in memory, and a restart would lose it"
	storageNoToken = "the storage is in trouble; there is no token to serve"
	storageLost    = "the storage is in trouble; the newest token is lost"
	storageKept    = "the storage is in trouble; a disconnection is lost"
)

// isWorthLogging reports whether to log an event. A storage that is out of reach fails every second
// or two for each account, so each message about it is logged once a minute. The failed refresh
// that follows from it is not logged, because it says nothing more. While the storage fails, a
// source whose provider gives a token has not recovered.
func (a *App) isWorthLogging(e tokensource.Event) bool {
	switch e.Kind {
	case tokensource.EventStorageFailed:
		if message := storageMessage(e); message == storageLost || message == storageKept { // once for each account
			return true
		}
		return a.storageTrouble.isNews(storageMessage(e), e.Source, time.Now())
	case tokensource.EventStorageRecovered:
		logged := false
		for _, message := range []string{storageServes, storageUnsaved, storageNoToken} {
			logged = a.storageTrouble.forget(message, e.Source) || logged
		}
		return logged
	case tokensource.EventRecovered:
		return e.Failure == nil
	case tokensource.EventRefreshFailed:
		failure, ok := errors.AsType[*tokensource.Error](e.Err)
		return !ok || !strings.HasPrefix(failure.Problem(), "storage_")
	}
	return true
}

func (a *App) log(e tokensource.Event) {
	message := messages[e.Kind]
	failure, counted := errors.AsType[*tokensource.Error](e.Err)
	connectable := e.Kind == tokensource.EventLoginRequired
	switch {
	case e.Kind == tokensource.EventStorageFailed:
		message = storageMessage(e)
	case connectable && counted && failure.LoginWouldBeLost():
		message, connectable = "login required, but the storage cannot be written", false
	case connectable && counted && failure.NeedsRefreshToken():
		message, connectable = "login required: the refresh token has to be replaced", false
	}
	entry := a.logger.Check(level(e), message)
	if entry == nil {
		return
	}
	fields := accountFields(e.Source, e.Account)
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	if failure = cmp.Or(e.Failure, failure); failure != nil {
		fields = append(fields, zap.String("class", string(failure.Class)))
		if counted {
			fields = append(fields, zap.Int("attempts", e.Attempts))
		}
		if problem := failure.Problem(); problem != "" {
			fields = append(fields, zap.String("problem", problem))
		}
		if remedy := failure.Remedy(); remedy != "" {
			fields = append(fields, zap.String("remedy", remedy))
		}
		if failure.Endpoint != "" {
			fields = append(fields, zap.String("endpoint", failure.Endpoint))
		}
		if !failure.RetryAt.IsZero() {
			fields = append(fields, zap.Time("retry_at", failure.RetryAt))
		}
	}
	if broken, ok := errors.AsType[*tokensource.PanicError](e.Err); ok {
		fields = append(fields, zap.ByteString("stack", broken.Stack))
	}
	if connectable {
		if url := a.connectURL(e.Source, e.Account); url != "" {
			fields = append(fields, zap.String("login_url", url))
		} else {
			fields = append(fields, zap.String("hint", a.loginHint(e.Source, e.Account)))
		}
	}
	if e.Generation > 0 {
		fields = append(fields, zap.Uint64("generation", e.Generation))
		if !e.Expiry.IsZero() {
			fields = append(fields, zap.Time("expiry", e.Expiry))
		}
	}
	if len(e.MissingScopes) > 0 {
		fields = append(fields, zap.Strings("scopes_not_granted", e.MissingScopes))
	}
	if e.Issuer != "" {
		fields = append(fields, zap.String("issuer", e.Issuer), zap.Strings("endpoints", e.Endpoints))
	}
	if e.Took > 0 {
		fields = append(fields, zap.Duration("took", e.Took))
	}
	entry.Write(fields...)
}

// accountFields returns the members of a log entry that name an account. The unnamed account has no
// member.
func accountFields(source, account string) []zap.Field {
	fields := []zap.Field{zap.String("source", source)}
	if account != "" {
		fields = append(fields, zap.String("account", account))
	}
	return fields
}

// emit emits those kinds of events to which a program may react. The log has the other kinds, too.
func (a *App) emit(e tokensource.Event) {
	switch e.Kind {
	case tokensource.EventSubjectRefused, tokensource.EventAdopted, tokensource.EventStorageFailed,
		tokensource.EventStorageRecovered, tokensource.EventEndpointsElsewhere:
		return
	}
	data := map[string]any{"source": e.Source, "account": e.Account}
	if e.Err != nil {
		data["error"], data["class"] = e.Err.Error(), string(class(e.Err))
	}
	failure, failed := errors.AsType[*tokensource.Error](e.Err)
	lost := failed && failure.LoginWouldBeLost()
	if url := a.connectURL(e.Source, e.Account); e.Kind == tokensource.EventLoginRequired && url != "" && !lost {
		data["login_url"] = url
	}
	if e.Generation > 0 {
		data["generation"] = e.Generation
	}
	if !e.Expiry.IsZero() {
		data["expiry"] = e.Expiry
	}
	a.events.Emit(a.ctx, string(e.Kind), data)
}
