package caddy

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The functions of this file warn of what works but is seldom intended, when a configuration is
// loaded or validated.

// literalWarning is the warning about a secret that is not a placeholder.
const literalWarning = "a secret stands in the configuration itself, where the admin API, autosave and logs can show it; " +
	"use a placeholder such as {env.NAME} or {file./path}"

// nothingProved is the warning about a source for which provesNothing is true.
const nothingProved = "the client does not authenticate, because client_secret is missing; " +
	"add it, or write client_auth none if the provider gave you no secret"

// provesNothing reports whether the client has no secret, although the grant needs one. cfg is the
// configuration of the source.
func (s *Source) provesNothing(grantName string, cfg *tokensource.Config) bool {
	return grantName == "client_credentials" && s.ClientAuth == "" && s.TokenHeaders == nil && cfg.AuthMethod() == tokensource.ClientAuthNone
}

// warnOf warns of mistakes in a source.
func (a *App) warnOf(ctx context.Context, name string, src *Source) {
	log := a.logger.With(zap.String("source", name))
	if src.Inject != nil && src.Inject.In == "query" {
		log.Warn("inject query puts the token into URLs, which servers and proxies log; " +
			"use inject header if the provider accepts it")
	}
	if src.provesNothing(src.grantName, &src.resolved) {
		log.Warn(nothingProved)
	}
	check := func(option string, readable bool, secrets ...string) {
		if literal := slices.IndexFunc(secrets, isLiteral); literal >= 0 {
			log.Warn(literalWarning+literalHint(secrets[literal]), zap.String("option", option))
		}
		if !readable {
			return
		}
		for _, secret := range secrets {
			if isPipe(secret) {
				continue
			}
			if _, err := value(secret)(ctx); err != nil {
				log.Warn("a secret cannot be read now; a file is read again for every token request, but a changed environment needs a restart",
					zap.String("option", option), zap.Error(err))
			}
		}
	}
	check("client_secret", true, src.ClientSecrets...)
	src.warnOfClient(ctx, log, check)
	for option, secret := range secretOptions(src.grant) {
		// A stored token replaces the secret, which may then be gone.
		check(option, !src.grant.Traits().Stored, secret)
		if signer, ok := src.grant.(interface{ CheckKey(context.Context) error }); ok && option == "key" && !isPipe(secret) {
			if _, err := value(secret)(ctx); err != nil {
				continue // it was reported
			}
			if err := signer.CheckKey(ctx); err != nil {
				log.Warn("the grant cannot sign now; its key is read again for every token request", zap.Error(err))
			}
		}
	}
}

// warnOfClient warns of a key, certificate or assertion that cannot prove the client now.
func (s *Source) warnOfClient(ctx context.Context, log *zap.Logger, check func(option string, readable bool, secrets ...string)) {
	var files []string
	if s.ClientJWT != nil && s.ClientJWT.Key != "" {
		check("key", false, s.ClientJWT.Key)
		files = append(files, s.ClientJWT.Key, s.ClientJWT.Certificate)
	}
	if s.ClientAssertion != "" {
		check("client_assertion", false, s.ClientAssertion)
		files = append(files, s.ClientAssertion)
	}
	if !slices.ContainsFunc(files, isPipe) {
		if err := s.resolved.CheckCredentials(ctx); err != nil {
			log.Warn("the client cannot prove itself to the provider now; its key, certificate or assertion is read again for every token request",
				zap.Error(err))
		}
	}
	if s.transport == nil {
		return
	}
	if cert := s.transport.clientCertificate(); cert != nil && cert.NotAfter.Before(time.Now()) {
		log.Warn("the client certificate of token_transport has expired; write a new one, and run: caddy reload --force",
			zap.Time("expired", cert.NotAfter))
	}
	if t := s.transport.http.TLS; t != nil && t.InsecureSkipVerify {
		log.Warn("tls_insecure_skip_verify in token_transport sends the client's credentials to anyone who answers as the provider; " +
			"trust the provider's CA with tls_trust_pool instead")
	}
}

// isPipe reports whether a secret comes from a pipe, which can be read only once.
func isPipe(secret string) bool {
	path, ok := filePlaceholder(secret)
	if !ok {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular()
}

// warnOf warns of upstreams that get no token, and of those that may have no address.
func (t *Transport) warnOf(ctx caddy.Context, app *App, to destinations) {
	log := ctx.Logger().With(zap.String("source", t.Source))
	if proxy := proxyOf(ctx); proxy != nil && to.templates == nil {
		for _, upstream := range proxy.Upstreams {
			if unset := checkSet(upstream.Dial); unset != nil {
				log.Warn("requests to this upstream may fail", zap.String("upstream", upstream.Dial), zap.Error(unset))
				t.noHost = cmp.Or(t.noHost, unset)
			}
			if why, ok := errors.AsType[*authinject.DestinationError](t.checkUpstream(upstream.Dial, to.fixed)); ok {
				log.Warn("requests to this upstream will be refused", zap.String("upstream", upstream.Dial), zap.Error(why))
				app.refusals.expect(t.Source, upstream.Dial, why)
			}
		}
	}
}

// checkUpstream returns why an upstream in the configuration gets no token.
func (t *Transport) checkUpstream(dial string, allowed authinject.Destinations) error {
	resolved, err := resolve(dial)
	if err != nil {
		return nil //nolint:nilerr // it is checked for each request
	}
	address, err := caddy.ParseNetworkAddress(resolved)
	if err != nil {
		return nil //nolint:nilerr // reverse_proxy says so itself
	}
	req := &http.Request{URL: &url.URL{Host: address.JoinHostPort(0)}}
	port := strconv.FormatUint(uint64(address.StartPort), 10)
	return allowed.Check(t.targetAt(req, address.Network, address.Host, port))
}
