package caddy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/internal/suggest"
)

// place is a block that takes options. Errors use its name.
type place struct {
	name    string
	options options
}

// places are the blocks in which a misplaced option may belong, except the blocks of grants.
var places []place

// init fills places. A plain initializer would refer to itself, because the options' parsers use
// places.
func init() {
	places = []place{
		{"the global option authinject", appOptions},
		{"the block of a source", sourceOptions},
		{"the block of client_auth", clientJWTOptions},
		{"the block of the directive authinject", directiveOptions},
		{"the block of authinject_connect", connectOptions},
	}
}

// placesOf returns the blocks that take an option.
func placesOf(name string) (found []string) {
	for _, place := range places {
		if _, ok := place.options.find(name); ok {
			found = append(found, place.name)
		}
	}
	for _, grant := range moduleNames(grantNamespace) {
		module, _ := newGrant(grant)
		if module, ok := module.(optioned); ok {
			if _, ok := module.options().find(name); ok {
				found = append(found, "the block of grant "+grant)
			}
		}
	}
	return found
}

// suggestOption returns the part of an error that says which option was probably meant, or where a
// misplaced option belongs.
func suggestOption(word string, known []string) string {
	suggestion := suggest.DidYouMean(word, known)
	if suggestion == "" || strings.HasSuffix(suggestion, " "+word+"?)") { // such as token_param audience
		return suggestion + elsewhere(word)
	}
	return suggestion
}

// elsewhere returns the part of an error that says where a misplaced option belongs; empty if no
// block takes it.
func elsewhere(name string) string {
	found := placesOf(name)
	switch last := len(found) - 1; last {
	case -1:
		return ""
	case 0:
		return fmt.Sprintf("; %s belongs in %s", name, found[0])
	default:
		return fmt.Sprintf("; %s belongs in %s or %s", name, strings.Join(found[:last], ", "), found[last])
	}
}

// unknown returns the error text for a word that is not one of the options.
func (list options) unknown(word string) string {
	switch {
	case word == "{":
		return "unexpected {: a block begins at the end of its option's line, as in: source orders {"
	case list == nil:
		return fmt.Sprintf("unknown option %s; no options are allowed here%s", quoteOption(word), elsewhere(word))
	}
	if name := strings.TrimRight(word, ":="); name != word && slices.Contains(list.names(), name) {
		return fmt.Sprintf("unknown option %q; an option is followed by its value, without %s", word, word[len(name):])
	}
	return fmt.Sprintf("unknown option %s%s; allowed are %s", quoteOption(word), suggestOption(word, list.names()),
		strings.Join(list.names(), ", "))
}

// proxyOptions are the subdirectives of reverse_proxy, for suggestions only.
var proxyOptions = []string{
	"to", "dynamic", "lb_policy", "lb_retries", "lb_try_duration", "lb_try_interval", "lb_retry_match",
	"health_uri", "health_upstream", "health_port", "health_headers", "health_method", "health_request_body",
	"health_interval",
	"health_timeout", "health_status", "health_body", "health_follow_redirects", "health_passes", "health_fails",
	"max_fails", "fail_duration", "unhealthy_request_count", "unhealthy_status", "unhealthy_latency",
	"flush_interval", "request_buffers", "response_buffers", "stream_buffer_size", "stream_timeout", "stream_close_delay",
	"proxy_status_name", "trusted_proxies",
	"header_up", "header_down", "method", "rewrite", "transport", "handle_response", "replace_status", "verbose_logs",
}

// httpTransportOptions are the subdirectives of the transport http, for suggestions only.
var httpTransportOptions = []string{
	"read_buffer", "write_buffer", "read_timeout", "write_timeout", "max_response_header", "proxy_protocol",
	"network_proxy",
	"dial_timeout", "dial_fallback_delay", "response_header_timeout", "expect_continue_timeout", "resolvers",
	"tls", "tls_client_auth", "tls_insecure_skip_verify", "tls_curves", "tls_timeout", "tls_server_name",
	"tls_renegotiation",
	"tls_except_ports", "tls_trust_pool", "keepalive", "keepalive_interval", "keepalive_idle_conns",
	"keepalive_idle_conns_per_host", "versions", "compression", "max_conns_per_host", "local_address",
}

// unrecognized matches Caddy's error about a subdirective.
var unrecognized = regexp.MustCompile(`unrecognized subdirective (\S+), at `)

// suggestSubdirective adds to Caddy's error about an unknown subdirective what was probably meant
// and what is allowed: the words of a transport. In the directive authinject, whose tokens are
// directive, they are the words of its block instead, if the word begins a line of the block itself.
func suggestSubdirective(err error, directive []caddyfile.Token) error {
	found := unrecognized.FindStringSubmatchIndex(err.Error())
	if found == nil {
		return err
	}
	text := err.Error()
	word := text[found[2]:found[3]]
	words, allowed := httpTransportOptions, "the subdirectives of Caddy's transport"
	depth := 0
	for i, token := range directive {
		switch token.Text {
		case "{":
			depth++
		case "}":
			depth--
		case word:
			if depth == 1 && startsLine(directive[max(i-1, 0)], token) {
				words = slices.Concat(directiveOptions.names(), proxyOptions)
				allowed = strings.Join(directiveOptions.names(), ", ") + " and the subdirectives of reverse_proxy"
			}
		}
	}
	return fmt.Errorf("%sunknown option %s%s; allowed are %s%s", text[:found[0]], quoteOption(word),
		suggestOption(word, words), allowed, text[found[3]:])
}
