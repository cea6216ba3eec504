package caddy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/tokensource"
)

// oneArg reads exactly one argument of the current option.
func oneArg(d *caddyfile.Dispenser) (string, error) {
	option := d.Val()
	if !d.NextArg() {
		return "", d.Errf("%s needs a value%s", option, emptied(d, option))
	}
	value := d.Val()
	if more := len(d.RemainingArgs()); more > 0 {
		if value == "=" || value == ":" {
			return "", d.Errf("%s: a value follows its option without %s", option, value)
		}
		// Without a quotation: the value may be a secret or a part of it.
		return "", d.Errf("%s takes one value, and there are %d; quotes keep one with spaces together", option, 1+more)
	}
	return value, nil
}

// optionName matches texts that look like the name of an option.
var optionName = regexp.MustCompile(`^[A-Za-z][A-Za-z_-]{0,31}$`)

// quoteOption describes a word in the place of an option, for an error. The word may be the value
// of the option in the line above, and a secret.
func quoteOption(word string) string {
	if optionName.MatchString(word) || len(word) < 3 {
		return strconv.Quote(word)
	}
	return fmt.Sprintf("of %d characters that looks like a value", utf8.RuneCountInString(word))
}

// oneText reads one value that is not empty.
func oneText(d *caddyfile.Dispenser, into *string) (err error) {
	option := d.Val()
	if *into, err = oneArg(d); err == nil && *into == "" {
		return d.Errf("%s is empty%s", option, emptied(d, option))
	}
	return err
}

// list reads one or more arguments.
func list(d *caddyfile.Dispenser, into *[]string) error {
	option := d.Val()
	args := d.RemainingArgs()
	switch {
	case len(args) == 0:
		return d.Errf("%s needs at least one value%s", option, emptied(d, option))
	case slices.Contains(args, ""):
		return d.Errf("%s has an empty value%s", option, emptied(d, option))
	}
	*into = append(*into, args...)
	return nil
}

// duration reads a positive duration.
func duration(d *caddyfile.Dispenser, into *caddy.Duration) error {
	option := d.Val()
	text, err := oneArg(d)
	if err != nil {
		return err
	}
	dur, err := caddy.ParseDuration(text)
	if err != nil || dur <= 0 {
		return d.Errf("%s %q is not a duration; allowed are positive ones such as 30s, 5m, 1h", option, text)
	}
	*into = caddy.Duration(dur)
	return nil
}

// lifetime reads a duration of a second or more, or never.
func lifetime(d *caddyfile.Dispenser, into *caddy.Duration) error {
	option := d.Val()
	text, err := oneArg(d)
	if err != nil {
		return err
	}
	dur, err := caddy.ParseDuration(text)
	switch {
	case text == "never":
		dur = tokensource.NeverExpires
	case err != nil || dur < time.Second:
		return d.Errf("%s %q is not a lifetime; allowed are durations from 1s such as 1h, and never", option, text)
	}
	*into = caddy.Duration(dur)
	return nil
}

// noValue reads an option that takes no value.
func noValue(d *caddyfile.Dispenser, into *bool) error {
	option := d.Val()
	if d.NextArg() {
		return d.Errf("%s takes no value; unexpected %q", option, d.Val())
	}
	*into = true
	return nil
}

// dpop reads "dpop [ES256]".
func dpop(d *caddyfile.Dispenser, into *string) error {
	*into = tokensource.DPoPAlgs[0]
	if d.NextArg() {
		*into = d.Val()
		if err := tokensource.CheckWord("dpop", *into, tokensource.DPoPAlgs); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Errf("dpop takes one algorithm; unexpected %q", d.Val())
	}
	return nil
}

// encryptionKeys reads "encryption_key <key...>".
func encryptionKeys(d *caddyfile.Dispenser, into *[]string) error {
	if len(*into) > 0 {
		return d.Err("encryption_key is given twice; write several keys in one line, the one that seals first")
	}
	if err := list(d, into); err != nil {
		return err
	}
	for _, key := range *into {
		if err := checkBraces("encryption_key", key); err != nil {
			return d.WrapErr(err)
		}
		if hasPlaceholder(key) {
			continue // read when the configuration is loaded
		}
		if err := tokensource.CheckEncryptionKey(tokensource.NewSecret(key)); err != nil {
			return d.Errf("encryption_key: %w", err)
		}
		warnLiteral(d, "", "encryption_key", key)
	}
	return nil
}

// warnLiteral warns of a secret in the Caddyfile. {$NAME} counts as one: its value becomes part of
// the configuration.
func warnLiteral(d *caddyfile.Dispenser, source, option, text string) {
	if !isLiteral(text) {
		return
	}
	of := zap.Skip() // the option is not in a source
	if source != "" {
		of = zap.String("source", source)
	}
	caddy.Log().Named("caddyfile").Warn("a secret is written into the configuration itself; "+
		"use a placeholder that is resolved at run time, such as {env.NAME} or {file./path}"+literalHint(text),
		of, zap.String("option", option), zap.String("file", d.File()), zap.Int("line", d.Line()))
}
