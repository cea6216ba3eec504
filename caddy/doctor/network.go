package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	// connectTimeout limits each step of a connection.
	connectTimeout = 5 * time.Second
	// maxAddresses limits the addresses of a name that are tried.
	maxAddresses = 4
	// soonExpired is how long before the end of a certificate doctor warns about it.
	soonExpired = 3 * 24 * time.Hour
)

// endpoint checks that an endpoint can be reached: its name, its port and its certificate. what
// names it, such as "token endpoint", and option says where its URL is configured. endpoint returns
// false if no request can arrive there.
func (x *exam) endpoint(ctx context.Context, what, option, raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		x.fail("name", "the "+what+" is not a URL", "correct the option "+option)
		return false
	}
	target := u
	throughProxy := false
	proxy, err := x.Proxy((&http.Request{URL: u}).WithContext(ctx))
	if err != nil { // its text may hold the proxy's password
		x.fail("name", "the address of the forward proxy is not a URL, so no request is sent to the "+what,
			"correct HTTPS_PROXY, HTTP_PROXY or network_proxy: a special character in a password must be percent-encoded")
		return false
	}
	if proxy != nil {
		x.warn("name",
			fmt.Sprintf("requests to the %s go through the proxy %s, which the environment or token_transport names",
				what, proxy.Host),
			"unset HTTPS_PROXY and HTTP_PROXY, or list the host in NO_PROXY, if that is not intended")
		target, throughProxy = proxy, true
		what, option = "proxy", "HTTPS_PROXY"
	}
	addresses, ok := x.resolve(ctx, what, option, target.Hostname())
	if !ok {
		return false
	}
	conn, ok := x.connect(ctx, what, option, target, addresses)
	if !ok {
		return false
	}
	defer conn.Close()
	if target.Scheme != "https" || throughProxy {
		return true
	}
	return x.handshake(ctx, what, option, u.Hostname(), conn)
}

// resolve resolves a name.
func (x *exam) resolve(ctx context.Context, what, option, name string) ([]netip.Addr, bool) {
	if address, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{address}, true
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err == nil && len(addresses) > 0 {
		x.ok("name", fmt.Sprintf("%s, the host of the %s, has the address %s", name, what, addresses[0].Unmap()))
		return addresses, true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		x.fail("name", fmt.Sprintf("%s, the host of the %s, does not exist in the DNS", name, what),
			fmt.Sprintf("check the host %s in %s, and this machine's DNS", name, option))
		return nil, false
	}
	x.down("name", fmt.Sprintf("%s, the host of the %s, could not be resolved, because no DNS server answered",
		name, what),
		fmt.Sprintf("check the host %s in %s, and this machine's DNS (/etc/resolv.conf, or the container's)", name, option))
	return nil, false
}

// connect opens a TCP connection.
func (x *exam) connect(ctx context.Context, what, option string, target *url.URL,
	addresses []netip.Addr) (net.Conn, bool) {
	port := cmp.Or(target.Port(), map[string]string{"https": "443"}[target.Scheme], "80")
	var failure error
	for _, address := range addresses[:min(len(addresses), maxAddresses)] {
		dialer := net.Dialer{Timeout: connectTimeout}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address.String(), port))
		if err == nil {
			x.ok("tcp", fmt.Sprintf("the %s, %s, accepts connections", what, conn.RemoteAddr()))
			return conn, true
		}
		if failure == nil || errors.Is(err, syscall.ECONNREFUSED) {
			failure = err
		}
	}
	at := net.JoinHostPort(target.Hostname(), port)
	var timeout net.Error
	switch {
	case errors.Is(failure, syscall.ECONNREFUSED):
		x.down("tcp", fmt.Sprintf("the %s, %s, refuses connections: nothing listens there", what, at),
			fmt.Sprintf("check host and port (%s) in %s, and whether the server of the %s runs", at, option, what))
	case errors.Is(failure, syscall.ENETUNREACH), errors.Is(failure, syscall.EHOSTUNREACH):
		x.down("tcp", fmt.Sprintf("this machine has no route to the %s, %s", what, at),
			"check the network of this machine or container, and its firewall")
	case errors.As(failure, &timeout) && timeout.Timeout():
		x.down("tcp", fmt.Sprintf("the %s, %s, did not answer within %s", what, at, connectTimeout),
			fmt.Sprintf("check the firewall between this machine and the %s. Set HTTPS_PROXY, if this machine "+
				"reaches the internet through a proxy", what))
	default:
		x.down("tcp", fmt.Sprintf("no connection to the %s, %s, could be opened", what, at),
			"check the network of this machine")
	}
	return nil, false
}

// handshake makes a TLS handshake and checks the certificate. It sends no request over the
// connection.
func (x *exam) handshake(ctx context.Context, what, option, name string, raw net.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	settings := x.TLS.Clone()
	name = cmp.Or(settings.ServerName, name)
	settings.ServerName, settings.NextProtos = name, nil
	settings.InsecureSkipVerify = true // the certificate is verified below, to say what is wrong; no request is sent
	conn := tls.Client(raw, settings)
	if err := conn.HandshakeContext(ctx); err != nil {
		if errors.As(err, new(tls.RecordHeaderError)) {
			x.fail("tls", fmt.Sprintf("the %s speaks no TLS at this port", what),
				fmt.Sprintf("check the port (%s) in %s", raw.RemoteAddr(), option))
			return false
		}
		if _, alert := errors.AsType[tls.AlertError](err); alert || strings.Contains(err.Error(), "remote error: tls:") {
			x.fail("tls", fmt.Sprintf("the %s ended the TLS handshake with an error", what),
				"check the host in "+option+". If the server wants a client certificate, set tls_client_auth")
			return false
		}
		x.down("tls", fmt.Sprintf("the TLS handshake with the %s failed", what), "check the host and port in "+option)
		return false
	}
	chain := conn.ConnectionState().PeerCertificates
	leaf := chain[0]
	rest := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		rest.AddCert(certificate)
	}
	now := time.Now()
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Intermediates: rest, Roots: x.TLS.RootCAs})
	issuer := authority(leaf)
	var invalid x509.CertificateInvalidError
	switch {
	case x.TLS.InsecureSkipVerify:
		x.warn("tls", fmt.Sprintf("the certificate of %s is not verified", name),
			"remove tls_insecure_skip_verify from token_transport, and trust the CA with tls_trust_pool")
		return true
	case err == nil && leaf.NotAfter.Sub(now) < soonExpired:
		x.warn("tls", fmt.Sprintf("the certificate of %s was issued by %s and expires soon, on %s", name,
			issuer, day(leaf.NotAfter)),
			"renew the certificate, if it is yours")
		return true
	case err == nil:
		x.ok("tls", fmt.Sprintf("the certificate of %s was issued by %s and is valid until %s", name, issuer,
			day(leaf.NotAfter)))
		return true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(leaf.NotBefore):
		x.timed = true
		x.fail("tls", fmt.Sprintf("the certificate of %s is not valid before %s, and this machine says that it is %s",
			name, moment(leaf.NotBefore), moment(now)), "check the clock of this machine")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.After(leaf.NotAfter):
		x.timed = true
		x.fail("tls", fmt.Sprintf("the certificate of %s expired on %s", name, moment(leaf.NotAfter)),
			"check the clock of this machine. If it is right, the operator of the server must renew the certificate")
	case errors.As(err, new(x509.HostnameError)):
		x.fail("tls", fmt.Sprintf("the certificate is not for %s, but for %s", name, names(leaf)),
			fmt.Sprintf("check the host %s in %s. It may be another server than the one that you mean", name, option))
	case errors.As(err, new(x509.UnknownAuthorityError)):
		x.fail("tls", fmt.Sprintf("the certificate of %s is not trusted, because this machine does not know "+
			"the authority that issued it, %s", name, issuer), x.trustRemedy(issuer))
	default:
		x.fail("tls", fmt.Sprintf("the certificate of %s, issued by %s, is not valid", name, issuer), x.trustRemedy(issuer))
	}
	return false
}

// trustRemedy says how to trust an authority, for this source or upstream or for all programs.
func (x *exam) trustRemedy(issuer string) string {
	advice := "trust the authority " + issuer + " that issued it. "
	if x.TLS.RootCAs != nil {
		return advice + "Add its certificate to the pool that tls_trust_pool names. While tls_trust_pool is set, the " +
			"authorities of the system do not count"
	}
	return advice + cmp.Or(x.trust, "Write the line tls_trust_pool file /path/to/ca.pem into "+
		"the block token_transport http of the source") +
		". Or add the authority to the system's store, and start the server again. " +
		"On Debian, put its certificate in PEM into /usr/local/share/ca-certificates/NAME.crt " +
		"and run update-ca-certificates. For one process, set SSL_CERT_FILE=/path/to/ca.pem, which replaces the system's file"
}

// authority names the issuer of a certificate.
func authority(leaf *x509.Certificate) string {
	name := leaf.Issuer.CommonName
	if len(leaf.Issuer.Organization) > 0 && leaf.Issuer.Organization[0] != name {
		name = strings.TrimSpace(leaf.Issuer.Organization[0] + " " + name)
	}
	text := fmt.Sprintf("%q", limit(name, 80))
	if leaf.Issuer.String() == leaf.Subject.String() {
		text += " (it signed itself)"
	}
	return text
}

// names lists the names in a certificate.
func names(leaf *x509.Certificate) string {
	list := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return "no name at all"
	}
	if len(list) > 5 {
		list = append(list[:5:5], "…")
	}
	return limit(strings.Join(list, ", "), 200)
}

func limit(text string, n int) string {
	if len(text) > n {
		return strings.ToValidUTF8(text[:n], "") + "…"
	}
	return text
}

func day(t time.Time) string    { return t.UTC().Format("2006-01-02") }
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
