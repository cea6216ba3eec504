package tokensource

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// unreachableReason is the reason if nothing more is known than that the connection failed.
	unreachableReason = "the token endpoint could not be reached"
	brokeReason       = "the connection to the token endpoint broke before its answer"
)

// UpstreamFailure returns why no connection to an upstream could be made, or why it broke before the
// upstream's answer, with what to do. In the second case, Lost is true. It returns nil if err says
// something else. upstream is the upstream's address, such as https://api.example.com. The text of
// err is not shown.
func UpstreamFailure(source, upstream string, err error) *Error {
	e := transportFailure(err, false)
	connecting, ok := errors.AsType[*net.OpError](err)
	switch throughProxy := ok && connecting.Op == "proxyconnect"; {
	case throughProxy:
		e = &Error{Class: ClassWait, Reason: unreachableReason}
	case errors.Is(err, io.EOF), ok && connecting.Op == "read" && errors.Is(err, syscall.ECONNRESET),
		strings.Contains(err.Error(), "malformed HTTP response"): // package net/http has no type for it
		e = &Error{Class: ClassWait, Reason: brokeReason, Lost: true}
	case e.Reason != unreachableReason && e.cause == nil: // the reason can only be one of connecting
	case !ok || connecting.Op != "dial":
		return nil
	default:
		e.Reason, e.cause = unreachableReason, nil
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		e.Class = ClassOperator
	}
	e.Reason = strings.Replace(e.Reason, "the token endpoint", "the upstream", 1)
	e.Source, e.Endpoint = source, upstream
	return e.withFacts(facts{"clock": shownClock(time.Now())})
}

// transportFailure turns an error of the HTTP client into ours. Its text is
// dropped: it holds the URL. sent says whether the request may have arrived.
func transportFailure(err error, sent bool) *Error {
	e := &Error{Class: ClassWait, Reason: unreachableReason, Lost: sent}
	var timeout net.Error
	switch {
	case errors.As(err, new(*net.DNSError)):
		e.Reason = "the token endpoint's name could not be resolved"
	case errors.As(err, new(tls.RecordHeaderError)):
		e.Class, e.Reason = ClassOperator, "the token endpoint speaks no TLS at this port"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason = "the token endpoint refuses connections"
	case refusesCertificate(err):
		e.Class, e.Reason, e.Lost = ClassOperator, "the token endpoint refused the client certificate", false
	case isCertificateError(err):
		var ca string
		e.Class = ClassOperator
		e.Reason, ca = certificateFailure(err)
		e = e.withFacts(facts{"ca": ca})
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Reason = "the token endpoint did not answer in time"
		e.cause = context.DeadlineExceeded
	case sent:
		e.Reason = brokeReason
	}
	return e
}

// certificateFailure tells the failures of a certificate apart. ca names the authority that issued
// it.
func certificateFailure(err error) (reason, ca string) {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, new(x509.HostnameError)):
		return "the token endpoint's certificate is for another host", ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the token endpoint's certificate has expired or is not valid yet", ""
	}
	if verify, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(verify.UnverifiedCertificates) > 0 {
		issuer := verify.UnverifiedCertificates[len(verify.UnverifiedCertificates)-1].Issuer
		ca = issuer.CommonName
		if ca == "" && len(issuer.Organization) > 0 {
			ca = issuer.Organization[0]
		}
	}
	return "the token endpoint's certificate is not trusted", shownName(ca)
}

// shownName returns the name of an authority in a certificate, quoted, if it can be shown: the
// other end chose it.
func shownName(name string) string {
	if name == "" || len(name) > 80 || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return strconv.Quote(name)
}

// isCertificateError reports whether a TLS handshake failed for a reason that only configuration
// can fix.
func isCertificateError(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError))
}

// certificateAlerts are the alerts that a server sends if it refuses the client's certificate or
// got none (RFC 8446 section 6.2), as crypto/tls writes them: it has no type for them.
var certificateAlerts = []string{
	"bad certificate", "unsupported certificate", "revoked certificate", "expired certificate", "unknown certificate",
	"unknown certificate authority", "access denied", "certificate required",
}

// refusesCertificate reports whether the server broke the TLS handshake off because of the client's
// certificate. In TLS 1.3 that arrives after the request was written. The server has not read the
// request, because its side of the handshake was not complete.
func refusesCertificate(err error) bool {
	_, alert, ok := strings.Cut(err.Error(), "remote error: tls: ")
	return ok && slices.Contains(certificateAlerts, alert)
}
