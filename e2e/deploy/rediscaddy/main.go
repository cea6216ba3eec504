// Command rediscaddy is Caddy with authinject and a storage in Redis, for tests only. Users take
// one of the storage modules that are made for use: see examples/cluster-redis.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/authinject/caddy-authinject"
)

func main() { caddycmd.Main() }
