package caddy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

func loginCommand() *cobra.Command {
	var (
		config  commandConfig
		vars    []string
		quiet   bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "login [<source>]",
		Short: "Connects an account at a provider",
		Long: `Prints the address of the provider's page, and opens it in a browser if there is one. Then it waits
until you have allowed access there. If the redirect URL is on this machine, the command or a running
server takes the provider's answer. Over SSH, paste the address at which the browser ends. If the
provider shows a code, type the code here. With the grant device_code, the command prints a code that
you type into the provider's page on any device.

If you name no source, the command takes the only source that has a login.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, source, err := config.loadSource(cmd.Context(), "login", args)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if source.Tokens.OnDevice() && !cmd.Flags().Changed("timeout") {
				timeout = 24 * time.Hour // the provider's code expires earlier, and that ends the wait
			}
			ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("no answer came in time; nothing was changed"))
			defer cancel()
			l := &terminalLogin{
				Source: source, account: config.account, pages: app.around.pagesOf(source.Name), openBrowser: !quiet,
				in: newLines(os.Stdin), out: os.Stdout, interactive: term.IsTerminal(int(os.Stdin.Fd())),
			}
			l.taken = func(address string) string {
				server := config.runningAt(ctx, config.survey())
				text, _ := server.Taken(doctor.Listener{Network: "tcp", Address: address})
				return text
			}
			l.server, _ = config.adminAddress() // without one, no running server is asked
			return l.run(ctx, vars)
		},
	}
	cmd.ValidArgsFunction = config.completeSources(true)
	config.flags(cmd)
	config.accountFlag(cmd)
	cmd.Flags().StringArrayVar(&vars, "var", nil, "A variable of the account, as `name=value`, such as "+
		"deployment=acme; may be repeated")
	cmd.Flags().BoolVar(&quiet, "no-browser", false, "Only print the address to open")
	cmd.Flags().DurationVar(&timeout, "timeout", tokensource.LoginLifetime,
		"How long to wait for the answer. With device_code, the default is until the code expires")
	return cmd
}

// terminalLogin is a login from a terminal.
type terminalLogin struct {
	connect.Source
	account     string
	pages       []string // addresses of the connect pages that show the source
	openBrowser bool
	in          <-chan string // lines; closed at the end of the input
	out         io.Writer
	interactive bool // a person can answer questions
	relinks     bool // after an empty line, a new address is printed
	// server is the address of the running server's admin API, or empty.
	server string
	// taken says which process has an address, unless that is the server of this configuration.
	taken func(address string) string
}

func (l *terminalLogin) run(ctx context.Context, vars []string) error {
	variables, err := l.variables(ctx, vars)
	if err != nil {
		return err
	}
	before, err := l.Tokens.Stored(ctx, l.account)
	if err != nil {
		return err
	}
	var redirect string
	var listener net.Listener
	if !l.Tokens.OnDevice() {
		if redirect, listener, err = l.redirect(ctx); err != nil {
			return err
		}
	}
	if listener != nil {
		defer listener.Close()
	}
	login, err := l.Tokens.BeginLogin(ctx, tokensource.LoginRequest{
		Account: l.account, Variables: variables, RedirectURL: redirect, Terminal: true,
	})
	if err != nil {
		return storageSays(err)
	}
	if err := l.await(ctx, login, listener, before.Decided); err != nil {
		return errors.Join(err, l.cancel(ctx, login))
	}
	return l.report(ctx)
}

// cancel cancels a login, so that no answer is used that comes later.
func (l *terminalLogin) cancel(ctx context.Context, login *tokensource.Login) error {
	err := l.Tokens.CancelLogin(context.WithoutCancel(ctx), login)
	if err == nil {
		return nil
	}
	return fmt.Errorf("the login could not be cancelled, so an answer may still connect the account until %s: %w",
		login.Expires().Local().Format(time.TimeOnly), err)
}

// await shows the person where to log in, and waits until the account is connected. before is when
// the account was last connected or disconnected.
func (l *terminalLogin) await(
	ctx context.Context, login *tokensource.Login, listener net.Listener, before time.Time,
) error {
	if login.Device != nil {
		l.showCode(login)
		l.browse(login.URL.Reveal())
		return l.onDevice(ctx, login)
	}
	link, err := l.show(ctx, login, listener != nil)
	if err != nil {
		return err
	}
	l.browse(link)
	if login.Typed() {
		return l.manual(ctx, login)
	}
	return l.redirected(ctx, login, listener, before)
}

// browse opens an address in a browser, unless --no-browser is set.
func (l *terminalLogin) browse(link string) {
	if l.openBrowser {
		openBrowser(link)
	}
}

// show prints the address for the person to open, and returns it. If authorization requests are
// pushed (RFC 9126), a link to the provider expires soon. Then the address is that of the listener,
// which gets a link when the browser opens the address. If the browser cannot reach the listener,
// the person presses Enter, and gets a link to the provider.
func (l *terminalLogin) show(ctx context.Context, login *tokensource.Login, listens bool) (string, error) {
	var address, hint string
	if listens && l.Tokens.Pushes(ctx, login.Variables) {
		l.relinks, address = true, connect.TerminalLink(login)
		hint = "If the browser runs on another machine, press Enter for an address that works there.\n\n"
	} else {
		link, err := l.Tokens.LoginLink(ctx, login)
		if err != nil {
			return "", err
		}
		address = link.URL.Reveal()
		if !link.Expires.IsZero() {
			l.relinks = true
			hint = fmt.Sprintf("The address works until %s. Press Enter for a new one.\n\n",
				link.Expires.Local().Format(time.TimeOnly))
		}
	}
	fmt.Fprintf(l.out, "To connect %s, open this address in a browser and allow access:\n\n  %s\n\n%s",
		connect.AccountName(l.Name, l.account), address, hint)
	return address, nil
}

// variables returns a value for each variable of the source: from the flag --var, else from the
// stored account, else from a person who types it.
func (l *terminalLogin) variables(ctx context.Context, flags []string) (map[string]string, error) {
	values := make(map[string]string)
	for _, flag := range flags {
		name, value, found := strings.Cut(flag, "=")
		if !found {
			return nil, fmt.Errorf("--var %s: write a name and a value, such as deployment=acme", flag)
		}
		values[name] = value
	}
	known, err := l.Tokens.Stored(ctx, l.account)
	if err != nil {
		return nil, err
	}
	for _, v := range l.Variables {
		value, given := values[v.Name]
		if !given {
			value = known.Variables[v.Name]
		}
		if value == "" && l.interactive {
			fmt.Fprintf(l.out, "%s (%s, such as %s): ", v.Title, v.Allowed, v.Example)
			if value, err = l.line(ctx); err != nil {
				return nil, err
			}
		}
		if value == "" {
			return nil, fmt.Errorf("the variable %s has no value: add --var %s=<value>, such as %s", v.Name, v.Name, v.Example)
		}
		if err := v.Check(value); err != nil {
			return nil, err
		}
		values[v.Name] = value
	}
	for name := range values {
		if !slices.ContainsFunc(l.Variables, func(v provider.Variable) bool { return v.Name == name }) {
			return nil, fmt.Errorf("--var %s: accounts of source %s have no such variable", name, l.Name)
		}
	}
	return values, nil
}

// redirect returns the URL to which the provider sends the person back: redirect_url, else the
// callback of a connect page, else a free port on 127.0.0.1 (RFC 8252 section 7.3). It is empty if
// the person types a code (redirect_url manual). The listener receives the answer. It is nil if the
// answer does not come to this process.
func (l *terminalLogin) redirect(ctx context.Context) (string, net.Listener, error) {
	redirect := l.RedirectURL
	if redirect == "" && len(l.pages) > 0 {
		redirect = l.pages[0] + connect.CallbackPath
	}
	switch redirect {
	case redirectManual:
		return "", nil, nil
	case "":
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", nil, fmt.Errorf("listening for the answer: %w", err)
		}
		return "http://" + listener.Addr().String() + connect.CallbackPath, listener, nil
	}
	u, err := url.Parse(redirect)
	if err != nil {
		return "", nil, err
	}
	if u.Scheme != "http" || !host.IsLoopback(u.Hostname()) {
		return redirect, nil, nil
	}
	// If Listen fails, the running server probably listens there, perhaps on a port that only the
	// server may use. It then finishes the login. If it does not, the person can paste the address
	// at which the browser ends.
	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		if taken := l.taken(address); taken != "" {
			fmt.Fprintf(l.out, "The answer to the login comes to another process: %s. You can also paste the address at "+
				"which the browser ends.\n\n", taken)
		}
	}
	return redirect, listener, nil
}

// showCode prints the code of a login on another device.
func (l *terminalLogin) showCode(login *tokensource.Login) {
	d := login.Device
	fmt.Fprintf(l.out, "To connect %s, open this address in a browser on any device:\n\n  %s\n\nType this code there, "+
		"and allow access:\n\n  %s\n\n",
		connect.AccountName(l.Name, l.account), d.VerificationURI, d.UserCode.Reveal())
	if !d.VerificationURIComplete.IsZero() {
		fmt.Fprintf(l.out, "This address has the code in it:\n\n  %s\n\n", d.VerificationURIComplete.Reveal())
	}
	fmt.Fprintf(l.out, "The code ends in %s. Waiting until access is allowed.\n", connect.Span(time.Until(d.Ends)))
}

// report prints the state of the account.
func (l *terminalLogin) report(ctx context.Context) error {
	st, err := l.Tokens.Stored(ctx, l.account)
	if err != nil {
		return err
	}
	text, _ := connect.Describe(st, time.Now())
	fmt.Fprintf(l.out, "%s: %s\n", connect.AccountName(l.Name, l.account), text)
	return nil
}
