package caddy

import (
	"errors"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/authinject/caddy-authinject/tokensource"
)

// observer counts and logs what happens to records, and emits it as events.
func (a *App) observer() tokensource.Observer {
	return func(e tokensource.Event) {
		count(e)
		a.log(e)
		a.emit(e)
	}
}

// messages are the log lines, one per kind of event.
var messages = map[tokensource.EventKind]string{
	tokensource.EventRefreshed:     "token obtained",
	tokensource.EventRefreshFailed: "obtaining a token failed",
	tokensource.EventRefused:       "an upstream refused the token",
	tokensource.EventLoginRequired: "login required: the account has to be connected",
	tokensource.EventLoginFailed:   "a login failed",
	tokensource.EventRecovered:     "token source recovered",
	tokensource.EventConnected:     "account connected",
	tokensource.EventDisconnected:  "account disconnected",
	tokensource.EventAdopted:       "newer token found in the storage",
	tokensource.EventStorageFailed: "the storage is in trouble; serving from memory",

	tokensource.EventRevocationFailed: "the provider did not confirm that it revoked tokens; the account was disconnected",

	tokensource.EventEndpointsElsewhere: "the issuer's metadata names endpoints on other hosts; token requests and logins go there",
}

// level says how loud an event is: what heals by itself is a warning, what needs somebody an error.
func level(e tokensource.Event) zapcore.Level {
	switch e.Kind {
	case tokensource.EventRefreshFailed:
		if class(e.Err) == tokensource.ClassWait {
			return zapcore.WarnLevel
		}
		return zapcore.ErrorLevel
	case tokensource.EventRefused, tokensource.EventRevocationFailed:
		return zapcore.WarnLevel
	case tokensource.EventLoginFailed:
		switch class(e.Err) {
		case tokensource.ClassOperator:
			return zapcore.ErrorLevel
		case tokensource.ClassWait:
			return zapcore.WarnLevel
		}
		return zapcore.InfoLevel // denied, or mistyped: the person knows
	case tokensource.EventLoginRequired:
		if e.New {
			return zapcore.WarnLevel
		}
		return zapcore.ErrorLevel
	case tokensource.EventStorageFailed:
		return zapcore.ErrorLevel
	}
	if len(e.MissingScopes) > 0 {
		return zapcore.WarnLevel
	}
	return zapcore.InfoLevel
}

func class(err error) tokensource.Class {
	var e *tokensource.Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}

func (a *App) log(e tokensource.Event) {
	entry := a.logger.Check(level(e), messages[e.Kind])
	if entry == nil {
		return
	}
	fields := []zap.Field{zap.String("source", e.Source)}
	if e.Account != "" {
		fields = append(fields, zap.String("account", e.Account))
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	var failure *tokensource.Error
	if errors.As(e.Err, &failure) {
		fields = append(fields, zap.String("class", string(failure.Class)), zap.Int("attempts", e.Attempts))
		if failure.Endpoint != "" {
			fields = append(fields, zap.String("endpoint", failure.Endpoint))
		}
		if !failure.RetryAt.IsZero() {
			fields = append(fields, zap.Time("retry_at", failure.RetryAt))
		}
	}
	var broken *tokensource.PanicError
	if errors.As(e.Err, &broken) {
		fields = append(fields, zap.ByteString("stack", broken.Stack))
	}
	if e.Kind == tokensource.EventLoginRequired {
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

// emit passes on the kinds that somebody may want to act on; the others are for the log.
func (a *App) emit(e tokensource.Event) {
	switch e.Kind {
	case tokensource.EventAdopted, tokensource.EventStorageFailed, tokensource.EventEndpointsElsewhere:
		return
	}
	data := map[string]any{"source": e.Source, "account": e.Account}
	if e.Err != nil {
		data["error"], data["class"] = e.Err.Error(), string(class(e.Err))
	}
	if url := a.connectURL(e.Source, e.Account); e.Kind == tokensource.EventLoginRequired && url != "" {
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
