package caddy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"
)

// proxyFlags are the flags of the proxy command that become lines of a Caddyfile.
type proxyFlags struct {
	from, to string
	options  map[string]*[]string // the values of each option of the source and of the directive
	vars     []string
}

func proxyCommand() *cobra.Command {
	f := proxyFlags{options: make(map[string]*[]string)}
	var onlyPrint bool
	cmd := &cobra.Command{
		Use:   "proxy --to <upstream> [options of a source]",
		Short: "Runs a proxy on this machine, without a Caddyfile",
		Long: `Runs a proxy on this machine that adds tokens of one source to all requests. Each option of a
source is a flag, with the same values as in a Caddyfile:

  caddy authinject proxy --to https://v5api.tiltify.com --provider tiltify \
    --client-id my-client --client-secret {env.TILTIFY_SECRET}

Put a value with spaces in quotes, such as --scopes 'orders:read orders:write'. Or repeat the flag:
--scopes orders:read --scopes orders:write.

If a person has to connect the account, the page for that is at /connect. --print prints a Caddyfile
that does the same as the command.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fmt.Errorf("unexpected word %s; a value with spaces needs quotes, such as --scopes 'orders:read "+
				"orders:write'",
				quoteOption(args[0]))
		},
		RunE: func(*cobra.Command, []string) error {
			text, err := f.caddyfile()
			if err != nil {
				return err
			}
			raw, err := adaptFlags(text)
			if err != nil {
				return err
			}
			if onlyPrint {
				_, err := os.Stdout.WriteString(text)
				return err
			}
			return f.run(raw)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "127.0.0.1:8080", "The `address` to listen on; without a host, on loopback")
	flags.StringVar(&f.to, "to", "", "The `url` of the API, such as https://api.example.com (needed)")
	flags.StringArrayVar(&f.vars, "var", nil, "A variable of the provider, as `name=value`, such as deployment=acme; "+
		"may be repeated")
	flags.BoolVar(&onlyPrint, "print", false, "Only print the Caddyfile")
	for _, o := range slices.Concat(sourceOptions, directiveOptions) {
		if o.args != "" && !strings.HasSuffix(o.args, " { ... }") { // a flag has a value, and no block
			f.options[o.name] = o.addFlag(cmd)
		}
	}
	if err := completeValues(cmd); err != nil {
		panic(err) // a flag is missing
	}
	return cmd
}

// flagValues are the values of a flag that may be repeated. Each is what follows the option's name
// in a Caddyfile.
type flagValues struct {
	values *[]string
	kind   string
}

// String implements pflag.Value.
func (v flagValues) String() string {
	if v.values == nil {
		return ""
	}
	return strings.Join(*v.values, " ")
}

// Set implements pflag.Value.
func (v flagValues) Set(value string) error {
	*v.values = append(*v.values, value)
	return nil
}

// Type implements pflag.Value. The help shows it behind the name of the flag.
func (v flagValues) Type() string { return v.kind }

// addFlag adds the flag for an option, and returns where its values will be.
func (o option) addFlag(cmd *cobra.Command) *[]string {
	args, _, _ := strings.Cut(o.args, " [{")
	kind := strings.ReplaceAll(args, "...", "")
	help := o.help
	switch {
	case strings.Contains(kind, "["): // a syntax of its own
		help, kind = help+": "+kind, "<how>"
	case !strings.Contains(kind, "<"):
		help, kind = help+": "+strings.ReplaceAll(kind, "|", ", "), "<word>"
	case o.name == "grant":
		help += ": " + strings.Join(moduleNames(grantNamespace), ", ")
	}
	switch {
	case strings.Contains(args, "..."):
		help += "; several in quotes"
		if o.repeat {
			help += ", or the flag again for each"
		}
	case strings.Contains(kind, "> <"):
		help += "; both in quotes"
		if o.repeat {
			help += "; may be repeated"
		}
	case kind == "<how>":
		help += "; in quotes"
	}
	if o.standard != "" {
		help += " (default: " + o.standard + ")"
	}
	values := new([]string)
	cmd.Flags().Var(flagValues{values, kind}, flagName(o.name), help)
	return values
}

func flagName(option string) string { return strings.ReplaceAll(option, "_", "-") }

// caddyfile returns the Caddyfile of the flags.
func (f *proxyFlags) caddyfile() (string, error) {
	host, port, err := listenAddress(f.from)
	if err != nil {
		return "", err
	}
	switch {
	case f.to == "":
		return "", errors.New("--to is needed: the API that the requests are for, such as https://api.example.com")
	case strings.ContainsAny(f.to, " \t\r\n"):
		return "", fmt.Errorf("--to %q is not an upstream", f.to)
	}
	var b strings.Builder
	b.WriteString("{\n\tadmin off\n\tauthinject {\n\t\tsource proxy {\n")
	if err := f.write(&b, "\t\t\t", sourceOptions); err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "\t\t}\n\t}\n}\n\nhttp://:%s {\n\tbind %s\n", port, host)
	if f.interactive() {
		b.WriteString("\tauthinject_connect /connect*\n")
	}
	fmt.Fprintf(&b, "\tauthinject proxy %s {\n", f.to)
	if err := f.write(&b, "\t\t", directiveOptions); err != nil {
		return "", err
	}
	b.WriteString("\t}\n}\n")
	return strings.ReplaceAll(b.String(), f.to+" {\n\t}\n", f.to+"\n"), nil
}

// write writes the lines of the options that are given.
func (f *proxyFlags) write(b *strings.Builder, indent string, known options) error {
	for _, o := range known {
		if f.options[o.name] == nil {
			continue
		}
		for _, value := range *f.options[o.name] {
			switch {
			case strings.ContainsAny(value, "\r\n"):
				return fmt.Errorf("--%s must be one line", flagName(o.name))
			case o.secret && isLiteral(value):
				return fmt.Errorf("--%s: every user of this machine can see a command line; "+
					"use a placeholder, {env.NAME} or {file./path}", flagName(o.name))
			}
			fmt.Fprintf(b, "%s%s %s", indent, o.name, value)
			if o.name == "provider" && len(f.vars) > 0 {
				b.WriteString(" {\n")
				for _, v := range f.vars {
					name, text, found := strings.Cut(v, "=")
					if !found {
						return fmt.Errorf("--var %s: a name and a value are needed, such as deployment=acme", v)
					}
					fmt.Fprintf(b, "%s\t%s %s\n", indent, name, text)
				}
				b.WriteString(indent + "}")
			}
			b.WriteString("\n")
		}
	}
	return nil
}

// listenAddress returns the address to listen on: on loopback, unless the flag --from has another
// host.
func listenAddress(from string) (host, port string, err error) {
	address := from
	if !strings.Contains(from, ":") {
		address = ":" + from
	}
	if host, port, err = net.SplitHostPort(address); err != nil || port == "" {
		return "", "", fmt.Errorf("--from %q is not an address; "+
			"allowed are host:port, such as 127.0.0.1:8080, and a port", from)
	}
	return cmp.Or(host, "127.0.0.1"), port, nil
}

// interactive reports whether a person connects the account.
func (f *proxyFlags) interactive() bool {
	first := func(option string) string {
		if values := *f.options[option]; len(values) > 0 {
			return values[0]
		}
		return ""
	}
	name := first("grant")
	for _, o := range sourceOptions {
		if o.implies && name == "" && first(o.name) != "" {
			name = o.grant
		}
	}
	return hasLogin(name, first("provider"))
}

// whereInCaddyfile matches an error message. The group leaves out the place in the generated
// Caddyfile.
var whereInCaddyfile = regexp.MustCompile(
	`^(?:parsing caddyfile tokens for '\w+': )?(?:source proxy: )?(.*?)(?:, at Caddyfile:\d+.*)?$`)

// adaptFlags turns the Caddyfile of the flags into a configuration. Its errors do not name lines of
// that file.
func adaptFlags(text string) ([]byte, error) {
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, errors.New(whereInCaddyfile.ReplaceAllString(err.Error(), "$1"))
	}
	return raw, nil
}

// run serves until a signal ends it.
func (f *proxyFlags) run(raw []byte) error {
	host, port, err := listenAddress(f.from)
	if err != nil {
		return err
	}
	if err := isFree(net.JoinHostPort(host, port)); err != nil {
		return err
	}
	var config caddy.Config
	if err := json.Unmarshal(raw, &config); err != nil {
		return fmt.Errorf("the configuration: %w", err)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}}
	ours := []string{"authinject", string(Transport{}.CaddyModule().ID)}
	console := json.RawMessage(`{"format":"console","level_format":"upper"}`)
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}, Exclude: ours},
		"tokens":  {BaseLog: caddy.BaseLog{Level: "INFO", EncoderRaw: console}, Include: ours},
	}}
	caddy.TrapSignals()
	if err := caddy.Run(&config); err != nil {
		return err
	}
	at := "http://" + net.JoinHostPort(host, port)
	fmt.Fprintf(os.Stdout, "Requests to %s go to %s, with a token.\n", at, f.to)
	if f.interactive() {
		fmt.Fprintf(os.Stdout, "To connect the account, open %s/connect\n", at)
	}
	select {} // a signal ends the process
}

// isFree returns an error if a process listens at addr. Caddy's servers share their addresses, so
// that one configuration can take over from another. Two proxies at one address would each get some
// of the requests.
func isFree(addr string) error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		return fmt.Errorf("nothing can listen at %s: %w; choose another address with --from", addr, err)
	}
	return listener.Close()
}
