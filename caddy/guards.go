package caddy

import (
	"slices"
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

// hasAddressMatcher reports whether a part of a route is a set of matchers with one of the caller's
// address, or an expression with such a matcher.
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

// isGuard reports whether a provisioned part of a route restricts the callers: authentication, also
// by another server (forward_auth), or a matcher of addresses.
func isGuard(route caddyhttp.Route) bool {
	if matchesAddress(route.MatcherSets) {
		return true
	}
	return slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
		switch h := handler.(type) {
		case *caddyauth.Authentication:
			return true
		case *reverseproxy.Handler:
			_, ours := h.Transport.(*Transport)
			return len(h.HandleResponse) > 0 && !ours
		case *caddyhttp.Subroute:
			return slices.ContainsFunc(h.Routes, isGuard)
		}
		return false
	})
}

// authenticates reports whether a provisioned part of a route has authentication.
func authenticates(route caddyhttp.Route) bool {
	return slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
		switch h := handler.(type) {
		case *caddyauth.Authentication:
			return true
		case *caddyhttp.Subroute:
			return slices.ContainsFunc(h.Routes, authenticates)
		}
		return false
	})
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
