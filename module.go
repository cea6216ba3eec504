// Package caddyauthinject is a Caddy plugin that gives every proxied request a
// valid OAuth 2.0 bearer token, so that the clients behind it never handle OAuth.
//
//	xcaddy build --with github.com/authinject/caddy-authinject
//
// A sidecar's Caddyfile:
//
//	{
//		authinject {
//			source orders {
//				grant client_credentials
//				token_url https://login.example.com/oauth/token
//				client_id orders
//				client_secret {env.ORDERS_SECRET}
//			}
//		}
//	}
//
//	:8080 {
//		bind 127.0.0.1
//		authinject orders https://api.example.com
//	}
//
// The Caddy modules are in package caddy; how a request gets its token in package
// authinject; where tokens come from and how they stay fresh in package
// tokensource. The last two know nothing of Caddy and can be used without it.
package caddyauthinject

import (
	// The import registers the modules and the Caddyfile directives.
	_ "github.com/authinject/caddy-authinject/caddy"
)
