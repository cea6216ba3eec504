package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/internal/suggest"
	"github.com/authinject/caddy-authinject/tokensource"
)

// Modules in the namespace authinject.grants implement [tokensource.Grant]. The grants of this
// package are such modules, one file each, and nothing else in this package names them. If a grant
// is also a [tokensource.Interactive], a person connects its accounts. A grant can also have:
//
//   - UnmarshalCaddyfile, which reads the block of the option `grant`. Without it the grant takes no block.
//   - Check() error, which reports what is wrong with its options. It is called before Provision.
//   - SecretOptions() map[string]string, which returns a new map with the values of the options that
//     hold secrets. Caddy warns where one is a literal, or cannot be read.
//   - Subject() string, for a [tokensource.Exchanger], which returns the placeholder of the callers'
//     tokens. Without it they are in the field Authorization.
//
// A grant that sends its own requests can read the answers with [tokensource.ReadTokenResponse].
// The packages in the folder grants of this module are examples.
//
// An error of Next that is a [*tokensource.Error] says who has to act. After any other error the
// operator has to act.
const grantNamespace = "authinject.grants"

// secretOptions returns the options of a grant module that hold secrets.
func secretOptions(grant any) map[string]string {
	if g, ok := grant.(interface{ SecretOptions() map[string]string }); ok {
		return g.SecretOptions()
	}
	return nil
}

// errPassword says why there is no grant password.
var errPassword = errors.New("grant password is refused: it gives a person's password to the client, and works with " +
	"no second factor; RFC 9700 section 2.4 forbids it. For a person's account use authorization_code, or device_code " +
	"where there is no browser; for a program use client_credentials or jwt_bearer; for a token that you have already " +
	"use refresh_token or static")

// newGrant returns the grant module of that name, without configuration.
func newGrant(name string) (tokensource.Grant, error) {
	if name == "password" {
		return nil, errPassword
	}
	info, err := caddy.GetModule(grantNamespace + "." + name)
	if err != nil {
		return nil, fmt.Errorf("unknown grant %q%s", name, suggest.Allowed(name, moduleNames(grantNamespace)))
	}
	grant, ok := info.New().(tokensource.Grant)
	if !ok {
		return nil, fmt.Errorf("grant module %s is not a tokensource.Grant", name)
	}
	return grant, nil
}

// isInteractive reports whether a person connects the accounts of the grant.
func isInteractive(grant tokensource.Grant) bool {
	_, ok := grant.(tokensource.Interactive)
	return ok
}

// notInBinary returns the end of an error about the name of a module that the namespace does not
// have.
func notInBinary(namespace, name string) string {
	return fmt.Sprintf("%q is not in this binary%s", name, suggest.Allowed(name, moduleNames(namespace)))
}

// moduleNames returns the names of the modules of that namespace in this binary.
func moduleNames(namespace string) []string {
	var names []string
	for _, mod := range caddy.GetModules(namespace) {
		names = append(names, mod.ID.Name())
	}
	return names
}

// grantType returns the name of the source's grant.
func (s *Source) grantType() string {
	var g struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(s.GrantRaw, &g) // loading reports a grant without a type
	return g.Type
}

// configuredGrant returns the source's grant with its options, but not provisioned.
func (s *Source) configuredGrant() (tokensource.Grant, error) {
	if len(s.GrantRaw) == 0 {
		return nil, errors.New("a grant is needed; allowed are " + strings.Join(moduleNames(grantNamespace), ", "))
	}
	grant, err := newGrant(s.grantType())
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(s.GrantRaw, grant); err != nil {
		return nil, fmt.Errorf("grant %s: %w", s.grantType(), err)
	}
	return grant, nil
}

// optioned is a grant of this package that has options. They can be in the grant's block, or, if
// the table sourceOptions has them, among the options of the source.
type optioned interface{ options() options }

// unmarshalGrant reads "<grant> { ... }" into grant.
func unmarshalGrant(d *caddyfile.Dispenser, grant any, known options) error {
	d.Next() // consume the grant's name
	name := d.Val()
	if d.NextArg() {
		return d.Errf("grant %s takes no argument; unexpected %q", name, d.Val())
	}
	for d.NextBlock(0) {
		if err := known.read(grant, d, "grant "+name+": "); err != nil {
			return err
		}
	}
	return nil
}

// withPlaceholders reads a text that may hold placeholders, such as a secret.
var withPlaceholders = text(func(option, text string) error { return checkBraces(option, text) })
