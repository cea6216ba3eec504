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

// When a configuration is loaded or validated, the functions of this file log a warning about each
// setting that works but is probably a mistake.

// literalWarning is the warning about a secret that is not a placeholder.
const literalWarning = "a secret is written into the configuration itself, where the admin API, " +
	"autosave and logs can show it; " +
	"use a placeholder such as {env.NAME} or {file./path}"

// unauthenticatedWarning is the warning about a source for which isUnauthenticated is true.
const unauthenticatedWarning = "the client does not authenticate, because client_secret is missing; " +
	"add it, or write client_auth none if the provider gave you no secret"

// isUnauthenticated reports whether the grant is client_credentials and nothing in the source
// authenticates the client: no secret, key, assertion or token_headers. It is false if client_auth
// is set, because the operator may want client_auth none. The name of the grant and cfg are
// arguments because the Caddyfile adapter calls it before Provision sets them.
func (s *Source) isUnauthenticated(grantName string, cfg *tokensource.Config) bool {
	return grantName == "client_credentials" && s.ClientAuth == "" && s.TokenHeaders == nil &&
		cfg.AuthMethod() == tokensource.ClientAuthNone
}

// warnOfSource warns of a token in URLs, of a client that does not authenticate, and of secrets that
// are literals or cannot be used.
func (a *App) warnOfSource(ctx context.Context, name string, src *Source) {
	log := a.logger.With(zap.String("source", name))
	if src.Inject != nil && src.Inject.In == "query" {
		log.Warn("inject query puts the token into URLs, which servers and proxies log; " +
			"use inject header if the provider accepts it")
	}
	if src.isUnauthenticated(src.grantName, &src.resolved) {
		log.Warn(unauthenticatedWarning)
	}
	warnOfLiteral := func(option string, secrets ...string) {
		if literal := slices.IndexFunc(secrets, isLiteral); literal >= 0 {
			log.Warn(literalWarning+literalHint(secrets[literal]), zap.String("option", option))
		}
	}
	check := func(option string, secrets ...string) {
		warnOfLiteral(option, secrets...)
		for _, secret := range secrets {
			if isPipe(secret) {
				continue
			}
			if _, err := value(secret)(ctx); err != nil {
				log.Warn("a secret cannot be read; correct its file, which is read again for every token request, "+
					"or its environment variable, which needs a restart of Caddy",
					zap.String("option", option), zap.Error(err))
			}
		}
	}
	check("client_secret", src.ClientSecrets...)
	src.warnOfClient(ctx, log, warnOfLiteral)
	signer, signs := src.grant.(interface{ CheckKey(context.Context) error })
	for option, secret := range secretOptions(src.grant) {
		switch {
		case src.grant.Traits().Stored:
			// After the first login, only the stored refresh token is used. The operator may have
			// removed the configured secret.
			warnOfLiteral(option, secret)
		case signs && option == "key":
			warnOfLiteral(option, secret)
			if isPipe(secret) {
				continue
			}
			if err := signer.CheckKey(ctx); err != nil {
				log.Warn("the grant cannot use its key; correct the key, which is read again for every token request",
					zap.Error(err))
			}
		default:
			check(option, secret)
		}
	}
}

// warnOfClient warns of a key, certificate or assertion with which the client cannot authenticate,
// and of a token_transport whose client certificate has expired or that does not verify the
// provider's certificate.
func (s *Source) warnOfClient(
	ctx context.Context, log *zap.Logger, warnOfLiteral func(option string, secrets ...string),
) {
	var files []string
	if s.ClientJWT != nil && s.ClientJWT.Key != "" {
		warnOfLiteral("key", s.ClientJWT.Key)
		files = append(files, s.ClientJWT.Key, s.ClientJWT.Certificate)
	}
	if s.ClientAssertion != "" {
		warnOfLiteral("client_assertion", s.ClientAssertion)
		files = append(files, s.ClientAssertion)
	}
	if !slices.ContainsFunc(files, isPipe) {
		if err := s.resolved.CheckCredentials(ctx); err != nil {
			log.Warn("the client cannot authenticate; correct its key, certificate or assertion, "+
				"which is read again for every token request",
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
		log.Warn("tls_insecure_skip_verify in token_transport sends the client's credentials to anyone who answers as the " +
			"provider; trust the provider's CA with tls_trust_pool instead")
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

// warnOfUpstreams warns of upstreams that get no token, and of those that may have no address. It
// notes the first kind for the status of the source.
func (t *Transport) warnOfUpstreams(ctx caddy.Context, app *App, to destinations) {
	log := ctx.Logger().With(zap.String("source", t.Source))
	if proxy := proxyOf(ctx); proxy != nil && to.templates == nil {
		for _, upstream := range proxy.Upstreams {
			if unset := checkSet(upstream.Dial); unset != nil {
				log.Warn("requests to this upstream may fail", zap.String("upstream", upstream.Dial), zap.Error(unset))
				t.noHost = cmp.Or(t.noHost, unset)
			}
			if why, ok := errors.AsType[*authinject.DestinationError](t.checkUpstream(upstream.Dial, to.fixed)); ok {
				log.Warn("requests to this upstream will be refused", zap.String("upstream", upstream.Dial), zap.Error(why),
					zap.String("problem", why.Problem()), zap.String("remedy", why.Remedy()))
				app.refusals.noteExpected(t.Source, upstream.Dial, why)
			}
		}
	}
}

// checkUpstream returns why an upstream in the configuration gets no token.
func (t *Transport) checkUpstream(dial string, allowed authinject.Destinations) error {
	resolved, err := resolve(dial)
	if err != nil {
		return nil //nolint:nilerr // the upstream has a placeholder of the request, so it is checked for each request
	}
	address, err := caddy.ParseNetworkAddress(resolved)
	if err != nil {
		return nil //nolint:nilerr // reverse_proxy says so itself
	}
	req := &http.Request{URL: &url.URL{Host: address.JoinHostPort(0)}}
	port := strconv.FormatUint(uint64(address.StartPort), 10)
	return allowed.Check(t.targetAt(req, address.Network, address.Host, port))
}
