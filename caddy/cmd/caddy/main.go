// Command caddy is Caddy with its standard modules and authinject.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/authinject/caddy-authinject"
)

func main() { caddycmd.Main() }
