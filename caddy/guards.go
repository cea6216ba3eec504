package caddy

import (
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// isForwardAuth reports whether a part of a route asks another server whether to go on. Such a
// reverse_proxy handles responses, and it is not the proxy that adds the token.
func isForwardAuth(part map[string]any) bool {
	answers, _ := part["handle_response"].([]any)
	transport, _ := part["transport"].(map[string]any)
	return part["handler"] == "reverse_proxy" && len(answers) > 0 && transport["protocol"] != "authinject"
}

// hasAddressMatcher reports whether a part of a route is a matcher set that contains a matcher of
// the caller's address, or an expression that contains such a matcher.
func hasAddressMatcher(part map[string]any) bool {
	_, remote := part["remote_ip"].(map[string]any)
	_, client := part["client_ip"].(map[string]any)
	short, _ := part["expression"].(string) // an expression without a name
	named, _ := part["expr"].(string)
	return remote || client || isAddressExpression(short) || isAddressExpression(named)
}

// isAddressExpression reports whether an expression looks at the caller's address.
func isAddressExpression(expression string) bool {
	return strings.Contains(expression, "remote_ip(") || strings.Contains(expression, "client_ip(")
}

// restricts reports whether a provisioned route restricts its callers: by authentication, by
// another server (forward_auth), or by a matcher of addresses. authenticates is true if Caddy
// authenticates the callers in the route itself.
func restricts(route caddyhttp.Route) (guarded, authenticates bool) {
	guarded = matchesAddress(route.MatcherSets)
	for _, handler := range route.Handlers {
		switch h := handler.(type) {
		case *caddyauth.Authentication:
			guarded, authenticates = true, true
		case *reverseproxy.Handler:
			_, ours := h.Transport.(*Transport)
			guarded = guarded || len(h.HandleResponse) > 0 && !ours
		case *caddyhttp.Subroute:
			for _, inner := range h.Routes {
				guards, authenticated := restricts(inner)
				guarded, authenticates = guarded || guards, authenticates || authenticated
			}
		}
	}
	return guarded, authenticates
}

func matchesAddress(sets caddyhttp.MatcherSets) bool {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchRemoteIP, *caddyhttp.MatchClientIP:
				return true
			case *caddyhttp.MatchNot:
				if matchesAddress(m.MatcherSets) {
					return true
				}
			case *caddyhttp.MatchExpression:
				if isAddressExpression(m.Expr) {
					return true
				}
			}
		}
	}
	return false
}
