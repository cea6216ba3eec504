package provider

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Describe writes the preset as a table for a person: its values, by the names of the options that
// override them, and then its notes. It leaves out what is not set. Each line is at most 100
// columns long, except for a longer URL.
func (p Preset) Describe(w io.Writer) error {
	t := &table{}
	t.text(p.Title)
	t.wrap("", p.Summary)
	t.text("")
	t.row("provider", p.Name)
	t.row("also called", p.Aliases...)
	t.row("grant", defaultFirst(p.Grants)...)
	t.row("authorize_url", p.AuthorizeURL)
	t.row("device_url", p.DeviceURL)
	for _, param := range p.AuthorizeParams {
		t.row("authorize_param", param.Name+" "+param.Value)
	}
	t.row("token_url", p.TokenURL)
	for _, param := range p.TokenParams {
		t.row("token_param", param.Name+" "+param.Value+requests(param))
	}
	if p.LifetimeParam.Name != "" {
		t.row("token_param", p.LifetimeParam.Name+" <seconds>"+requests(p.LifetimeParam)+", if you like")
	}
	t.row("revoke_url", p.RevokeURL)
	if p.ClientAuth != "" {
		t.row("client_auth", defaultFirst(words(append([]ClientAuth{p.ClientAuth}, p.ClientAuthAlternatives...)))...)
	}
	if p.ClientIDParam {
		t.row("", "with client_id among the parameters too")
	}
	t.row("body_format", string(p.BodyFormat))
	t.row("scopes", p.Scopes...)
	if p.OneScope {
		t.row("", "exactly one of those known")
	}
	if p.ScopeSeparator != "" {
		t.row("scope_separator", fmt.Sprintf("%q", p.ScopeSeparator))
	}
	if p.Offers(GrantAuthorizationCode) {
		t.row("pkce", p.PKCE)
	}
	t.row("redirect_url", p.RedirectURL)
	if p.ImplicitAnswer != "" {
		t.row("answer", "the token is in the redirect's "+p.ImplicitAnswer)
	}
	t.row("inject", p.Inject.String())
	for _, injection := range p.InjectAlternatives {
		t.row("", "or "+injection.String())
	}
	t.row("destinations", p.Destinations...)
	t.row("token_types", p.TokenTypes...)
	t.row("default_lifetime", lifetime(p.DefaultLifetime))
	p.describeRefresh(t)

	for _, v := range p.Variables {
		whose := "of the source"
		if v.PerAccount {
			whose = "of the source or of each account"
		}
		t.section("Variable " + v.Name)
		t.row("title", v.Title)
		t.row("set", whose)
		t.row("allowed", v.Allowed+" ("+v.Pattern+")")
		t.row("example", v.Example)
		t.row("help", v.Help)
	}
	if len(p.KnownScopes) > 0 {
		t.section("Known scopes")
		for _, scope := range p.KnownScopes {
			t.wrap("  ", scope.Name+": "+scope.Means)
		}
	}
	t.list("Notes", p.Notes)
	t.list("Not published by the provider", p.Unknown)
	t.section("Pages")
	if p.Register != "" {
		t.text("  register a client: " + p.Register)
	}
	for _, page := range p.Docs {
		t.text("  " + page)
	}
	_, err := io.WriteString(w, t.out.String())
	return err
}

// describeRefresh describes how the provider's tokens are refreshed.
func (p Preset) describeRefresh(t *table) {
	if !p.Offers(GrantRefreshToken) {
		return
	}
	switch p.Rotates {
	case RotationYes:
		t.row("refresh", "each brings a new refresh token, and ends the old one")
	case RotationNo:
		t.row("refresh", "the refresh token stays the same")
	default:
		t.row("refresh", "whether the refresh token changes is not published; a new one is kept")
	}
	if p.RefreshBeforeExpiry {
		t.row("", "before the token's end only")
	}
	for _, code := range p.DeadGrantErrors {
		t.row("", code+" means that a person must connect again")
	}
	if l := p.LockOut; l.Code != "" {
		t.row("lock-out", fmt.Sprintf("after %s %s: wait %s or longer, as Retry-After says", l.Member, l.Code,
			lifetime(l.MinWait)))
		if l.Restarts {
			t.row("", "any attempt during it begins it anew")
		}
	}
}

// String returns the injection as a configuration spells it.
func (i Injection) String() string {
	text := i.Place + " " + i.Name
	if i.Place == PlaceHeader {
		if i.Scheme == "" {
			return text + ` ""`
		}
		text += " " + i.Scheme
	}
	return text
}

// words converts values to strings.
func words[T ~string](values []T) []string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return texts
}

func defaultFirst(words []string) []string {
	if len(words) < 2 {
		return words
	}
	return append([]string{words[0] + " (default)"}, words[1:]...)
}

func requests(p TokenParam) string {
	if len(p.Requests) == 0 {
		return ""
	}
	return " (in " + strings.Join(p.Requests, " and ") + " requests)"
}

// lifetime returns a duration in the largest unit that divides it.
func lifetime(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d == NeverExpires:
		return "never"
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}
