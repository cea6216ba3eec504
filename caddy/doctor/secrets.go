package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Secret is an option that holds a secret.
type Secret struct {
	Option string
	// From is the placeholder, such as {env.NAME}, or a description of where the secret is. It
	// holds no secret.
	From string
	// Literal says that the secret is written in the configuration itself.
	Literal bool
	// Replaced says that a stored token replaces the secret, so the secret may be missing.
	Replaced bool
	Value    tokensource.Value
}

// hideLiterals reads the secrets and hides their values in the report.
func (x *exam) hideLiterals(ctx context.Context) {
	for _, s := range x.Secrets {
		if value, err := s.Value(ctx); err == nil {
			x.report.Hide(value.Reveal())
			x.report.Hide(strings.TrimSpace(value.Reveal()))
		}
	}
}

// secrets checks that the secrets can be read.
func (x *exam) secrets(ctx context.Context) bool {
	readable := true
	for _, s := range x.Secrets {
		value, err := s.Value(ctx)
		switch {
		case err == nil && s.Literal:
			x.warn("secrets", s.Option+" is written into the configuration itself, where the admin API and logs can show it",
				"move it into an environment variable or a file, and write {env.NAME} or {file./path}")
			x.report.Change(Change{In: "source " + x.Config.Name, Remove: s.Option + " …",
				Add: s.Option + " {env." + strings.ToUpper(s.Option) + "}", secret: true})
		case err == nil:
			x.ok("secrets", s.Option+" can be read from "+s.From)
		case s.Replaced:
			x.warn("secrets", fmt.Sprintf("%s cannot be read: %s is %s; a stored refresh token does without "+
				"it", s.Option, s.From, whyUnreadable(s.From, err)),
				x.secretRemedy(s.From, err))
		default:
			readable = false
			x.fail("secrets", fmt.Sprintf("%s cannot be read: %s is %s", s.Option, s.From, whyUnreadable(s.From, err)),
				x.secretRemedy(s.From, err))
		}
		x.blanks(s, value.Reveal())
	}
	if err := x.Config.CheckCredentials(ctx); err != nil && readable {
		x.fail("secrets", err.Error(), x.credentialRemedy(err))
	}
	return readable
}

func whyUnreadable(configured string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "a file that does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "a file that this user may not read"
	case strings.HasPrefix(configured, "{env."):
		return "not set or empty"
	}
	return "empty or not readable"
}

// blanks reports blanks around a secret. They are sent with it, and are often there by mistake.
func (x *exam) blanks(s Secret, value string) {
	const white = " \t\r\n"
	trimmed := strings.Trim(value, white)
	if trimmed == "" || trimmed == value || s.Option == "key" || s.Option == "client_assertion" {
		return // of a key and of a JWT, only the text between blanks is used
	}
	begin, _, _ := strings.Cut(value, trimmed)
	end := value[len(begin)+len(trimmed):]
	var where []string
	if begin != "" {
		where = append(where, "begins with "+blank(begin[0]))
	}
	if end != "" {
		where = append(where, "ends in "+blank(end[len(end)-1]))
	}
	x.warn("secrets", s.Option+" "+strings.Join(where, " and ")+", which is sent as a part of it",
		"if it does not belong to the secret, remove it from the value of "+s.From)
}

func blank(c byte) string {
	switch c {
	case ' ':
		return "a space"
	case '\t':
		return "a tab"
	}
	return "a line break"
}

// credentialRemedy says where to correct the option that an error of
// [tokensource.Config.CheckCredentials] names.
func (x *exam) credentialRemedy(err error) string {
	for _, s := range x.Secrets {
		if !strings.Contains(err.Error(), s.Option) || s.Literal {
			continue
		}
		if s.Option == "client_assertion" {
			return "renew the JWT in " + s.From + ": see that the program that writes it runs, and that it writes to that place"
		}
		return "correct the option that is named, or the value of " + s.Option + " in " + s.From
	}
	return "correct the option that is named"
}

// secretRemedy says how to give a placeholder a value. err says why it has none.
func (x *exam) secretRemedy(configured string, err error) string {
	isFile := strings.HasPrefix(configured, "{file.")
	switch {
	case !x.Running.Live:
	case errors.Is(err, fs.ErrNotExist):
		return "the running server still has a token, and its next token request will fail; restore the file"
	case isFile && !errors.Is(err, fs.ErrPermission):
		return "the running server still has a token, and its next token request will fail; write the secret into that file"
	default:
		return "the running server has a token, so only doctor lacks the value: run doctor as the user and with the " +
			"environment of the server"
	}
	if name, ok := strings.CutPrefix(configured, "{env."); ok {
		name = strings.TrimSuffix(name, "}")
		return fmt.Sprintf("set the environment variable %s where Caddy is started: export %s=… in the shell, "+
			"Environment= or EnvironmentFile= of its systemd unit, or env of its container", name, name)
	}
	if isFile {
		return "write the secret into that file, and let the user that runs Caddy read it"
	}
	return "check the placeholder"
}
