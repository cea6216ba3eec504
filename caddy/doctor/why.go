package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"syscall"
)

// whyUnreachable returns why a request got no answer. It does not use the error's text, which may
// contain the URL.
func whyUnreachable(err error) string {
	var timeout net.Error
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, new(*net.DNSError)):
		return "its name could not be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it refuses connections"
	case errors.As(err, new(tls.RecordHeaderError)):
		return "it speaks no TLS at this port"
	case errors.As(err, &unknown):
		return "this machine does not trust the CA of its certificate"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "its certificate is not valid"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "it did not answer in time"
	}
	return "the connection failed"
}
