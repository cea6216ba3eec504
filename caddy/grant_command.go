package caddy

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(CommandGrant{}) }

// CommandGrant gets tokens from a program that prints one, such as `gh auth token`. The program
// runs without a shell, as the user of this process. It prints the token on one line, or a JSON
// object with `access_token` and `expires_in`. It runs again when the token is due, and when the
// upstream refuses the token.
type CommandGrant struct {
	// Run is the program and its arguments. Required.
	Run []string `json:"run,omitempty"`
	// TTL is how long a token is used at most. Default: as long as the program or the token says (a
	// JWT does), or else `default_lifetime`.
	TTL caddy.Duration `json:"ttl,omitempty"`
	// Timeout is how long the program may run. Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// Env holds further variables of the program's environment. Placeholders are read anew for each
	// run. The program inherits only PATH, HOME and the like, because other variables may hold
	// secrets of other sources.
	Env []Param `json:"env,omitempty"`

	tokensource.Command `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (CommandGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.command", New: func() caddy.Module { return new(CommandGrant) }}
}

func (*CommandGrant) options() options {
	return options{
		{name: "run", field: "Run", parse: into(list)},
		{name: "ttl", field: "TTL", parse: into(duration)},
		{name: "timeout", field: "Timeout", parse: into(duration)},
		{name: "env", repeat: true, field: "Env", parse: param("GH_HOST github.example.com")},
	}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant command {
//	    run     <program> [<argument...>]
//	    ttl     <duration>
//	    timeout <duration>
//	    env     <name> <value>
//	}
func (g *CommandGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// Check reports what is wrong with the options.
func (g CommandGrant) Check() error { return g.Provision(caddy.Context{}) }

// Provision sets up the grant.
func (g *CommandGrant) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	g.Command = tokensource.Command{TTL: time.Duration(g.TTL), Timeout: time.Duration(g.Timeout)}
	for _, text := range g.Run {
		g.Command.Run = append(g.Command.Run, repl.ReplaceKnown(text, ""))
	}
	for _, v := range g.Env {
		if err := checkBraces("env "+v.Name, v.Value); err != nil {
			return err
		}
		g.Command.Env = append(g.Command.Env, tokensource.Param{Name: v.Name, Value: value(v.Value)})
	}
	return g.Command.Check()
}

// Interface guard
var _ tokensource.Grant = (*CommandGrant)(nil)
