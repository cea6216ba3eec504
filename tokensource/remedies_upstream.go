package tokensource

// innerTransport is where a line about TLS to an upstream belongs, in both forms of a Caddyfile. In
// reverse_proxy, a block transport http beside transport authinject would replace it, and the
// requests would get no token.
const innerTransport = "a block transport http inside the directive authinject. " +
	"In reverse_proxy, that block belongs inside transport authinject, not beside it"

// upstreamProblems happen between this machine and an upstream, see [UpstreamFailure].
var upstreamProblems = []Remedy{
	{
		Problem: "upstream_unknown_host", Text: "the upstream's name could not be resolved", Class: ClassOperator,
		Cause: "DNS does not know the host of the upstream. It may be a typing mistake, or this machine's DNS fails.",
		Do:    "check the host[ {host_name}] of the upstream in the directive authinject or reverse_proxy, and this machine's DNS",
		More: "The client gets Caddy's own 502. " +
			"The class is `wait` if no DNS server answered.",
	},
	{
		Problem: "upstream_refused", Text: "the upstream refuses connections", Class: ClassWait,
		Cause: "The host of the upstream exists, but nothing listens at the port.",
		Do: "start the server of the upstream, or check host and port[ ({host})] of the upstream " +
			"in the directive authinject or reverse_proxy",
		More: "The client gets Caddy's own 502.",
	},
	{
		Problem: "upstream_unreachable", Text: "the upstream could not be reached", Class: ClassWait,
		Cause: "The connection to the upstream failed. Perhaps the network is down, a firewall drops the packets, a " +
			"forward proxy (HTTPS_PROXY, network_proxy) fails, or the path of a unix socket is wrong.",
		Do: "check the network, the firewall, HTTPS_PROXY and the address[ {host}] of the upstream. " +
			"If it is a unix socket, check its path and who may write to it",
		More: "The client gets Caddy's own 502.",
	},
	{
		Problem: "upstream_connection_broke", Text: "the connection to the upstream broke before its answer", Class: ClassWait,
		Cause: "The server of the upstream, or something before it, ended the connection and sent no answer that is HTTP. " +
			"This happens if the server restarts, or if it speaks TLS at this port and the address of the upstream does not " +
			"begin with https. Only requests without a body count, because a client can end its body, too.",
		Do: "check whether the server of the upstream[ at {host}] works, and whether a proxy or a firewall ends " +
			"connections[. The proxy connects to it with {plain}: if the upstream speaks TLS at this port, write https:// " +
			"before its address in the directive authinject or reverse_proxy]",
		More: "The client gets Caddy's own 502.",
	},
	{
		Problem: "upstream_unknown_authority", Text: "the upstream's certificate is not trusted", Class: ClassOperator,
		Cause: "The certificate of the upstream was issued by an authority that this machine does not know, " +
			"such as a private authority, or the authority of a proxy that inspects TLS traffic.",
		Do: "trust the authority[ {ca}] that issued it. Write the line tls_trust_pool file /path/to/ca.pem into " +
			innerTransport + ". If that line is there, add the authority to its file. Without that line, you can also add the " +
			"authority to the system's store, and start the server again",
		More: "The client gets Caddy's own 502. The section on [the token " +
			"endpoint](#the-token-endpoints-certificate-is-not-trusted) says how to add an authority to the system's store.",
	},
	{
		Problem: "upstream_other_host", Text: "the upstream's certificate is for another host", Class: ClassOperator,
		Cause: "The certificate of the upstream does not name the host that was asked.",
		Do: "check the host[ {host}] of the upstream. If the certificate has another name on purpose, write the line " +
			"tls_server_name <name> into " + innerTransport,
		More: "The client gets Caddy's own 502.",
	},
	{
		Problem: "upstream_certificate_time", Text: "the upstream's certificate has expired or is not valid yet",
		Class: ClassOperator,
		Cause: "The certificate of the upstream has expired, or this machine's clock is wrong.",
		Do:    "check this machine's clock[ (now {clock})]. If it is right, the upstream[ {host}] needs a new certificate",
		More:  "The client gets Caddy's own 502.",
	},
	{
		Problem: "upstream_no_tls", Text: "the upstream speaks no TLS at this port", Class: ClassOperator,
		Cause: "This proxy uses TLS for the upstream, but the server at this port does not.",
		Do:    "check the scheme and the port[ ({host})] of the upstream",
		More:  "The client gets Caddy's own 502.",
	},
	{
		Problem: "upstream_client_certificate", Text: "the upstream refused the client certificate", Class: ClassOperator,
		Cause: "The upstream wants a client certificate. It got none, or one that it does not accept.",
		Do: "write the line tls_client_auth <certificate> <key> into " + innerTransport + ". " +
			"Check that the certificate has not expired",
		More: "The client gets Caddy's own 502.",
	},
}
