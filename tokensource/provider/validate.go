package provider

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var (
	presetName   = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	variableName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

	grantWords = []string{GrantAuthorizationCode, GrantClientCredentials, GrantRefreshToken, GrantImplicit, GrantStatic}
	// requestWords are the grants that are also the grant_type of a token request.
	requestWords  = []string{GrantAuthorizationCode, GrantClientCredentials, GrantRefreshToken}
	authWords     = []string{AuthBasic, AuthBasicRaw, AuthPost, AuthQuery}
	bodyWords     = []string{BodyForm, BodyJSON, BodyQuery}
	pkceWords     = []string{PKCES256, PKCENone}
	answerWords   = []string{AnswerQuery, AnswerFragment}
	placeWords    = []string{PlaceHeader, PlaceQuery}
	rotationWords = []string{RotationUnknown, RotationYes, RotationNo}

	// reserved are the parameters that the grants themselves send.
	reserved = []string{
		"client_id", "client_secret", "code", "code_verifier", "grant_type", "redirect_uri", "refresh_token", "scope",
	}
	// hostile are values that no variable may take: they end a host's name, or the host.
	hostile = []string{"", ".", "..", "a.b", "a/b", "a\\b", "a@b", "a:1", "a?b", "a#b", "a%2fb", "a b", "a\n", "\na", "{a}"}
)

// Validate reports everything that is wrong with a preset, or nil: what the
// grants need is there, words are known, URLs are https, variables are declared
// and their patterns let nothing through that could change a URL's host.
func (p Preset) Validate() error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	p.validateFace(report)
	p.validateGrants(report)
	p.validateRequests(report)
	p.validateURLs(report)
	p.validateVariables(report)
	p.validateTokens(report)
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("provider %s: %w", p.Name, err)
	}
	return nil
}

type reporter func(format string, args ...any)

func (report reporter) word(field, got string, known []string) {
	if !slices.Contains(known, got) {
		report("%s %q is not known; allowed are %s", field, got, strings.Join(known, ", "))
	}
}

func (p Preset) validateFace(report reporter) {
	for _, name := range append([]string{p.Name}, p.Aliases...) {
		if !presetName.MatchString(name) {
			report("name %q is not made of lower-case letters, digits and underscores", name)
		}
	}
	if p.Title == "" || p.Summary == "" {
		report("Title and Summary are needed")
	}
	if len(p.Docs) == 0 {
		report("Docs is needed: a value without a source is a guess")
	}
	for _, note := range slices.Concat([]string{p.Summary}, p.Notes, p.Unknown) {
		if !strings.HasSuffix(note, ".") {
			report("%q is not a sentence", note)
		}
	}
}

func (p Preset) validateGrants(report reporter) {
	if len(p.Grants) == 0 {
		report("Grants is needed")
	}
	for i, grant := range p.Grants {
		report.word("Grants", grant, grantWords)
		if slices.Contains(p.Grants[:i], grant) {
			report("Grants has %s twice", grant)
		}
	}
	code, implicit := p.Offers(GrantAuthorizationCode), p.Offers(GrantImplicit)
	asks := slices.ContainsFunc(p.Grants, func(grant string) bool { return slices.Contains(requestWords, grant) })
	if (code || implicit) != (p.AuthorizeURL != "") {
		report("AuthorizeURL is for authorization_code and implicit, and needed by them")
	}
	if asks != (p.TokenURL != "") || asks != (p.ClientAuth != "") || asks != (p.BodyFormat != "") {
		report("TokenURL, ClientAuth and BodyFormat are for the grants with a token request, and needed by them")
	}
	if implicit != (p.ImplicitAnswer != "") {
		report("ImplicitAnswer is for implicit, and needed by it")
	}
	if p.ImplicitAnswer != "" {
		report.word("ImplicitAnswer", p.ImplicitAnswer, answerWords)
	}
	report.word("PKCE", p.PKCE, pkceWords)
	if !code && (p.PKCE != PKCENone || p.RedirectURL != "") {
		report("PKCE and RedirectURL are for authorization_code")
	}
	if p.RedirectURL != "" {
		report.word("RedirectURL", p.RedirectURL, []string{RedirectManual})
	}
}

func (p Preset) validateRequests(report reporter) {
	for _, param := range p.AuthorizeParams {
		// grant_type has no meaning on an authorize URL, and one provider wants it.
		if param.Name == "" || param.Name != "grant_type" && slices.Contains(reserved, param.Name) {
			report("AuthorizeParams: %q is sent already", param.Name)
		}
	}
	for _, param := range append(slices.Clone(p.TokenParams), p.LifetimeParam) {
		if slices.Contains(reserved, param.Name) {
			report("token parameter %q is sent already", param.Name)
		}
		for _, request := range param.Requests {
			if report.word("token parameter "+param.Name, request, requestWords); !p.Offers(request) {
				report("token parameter %s is for %s, which is not offered", param.Name, request)
			}
		}
	}
	for i, param := range p.TokenParams {
		if param.Name == "" || param.Value == "" {
			report("TokenParams[%d] needs a name and a value", i)
		}
	}
	if p.LifetimeParam.Value != "" {
		report("LifetimeParam has no value of its own: the user gives it")
	}
	auths := slices.Clone(p.ClientAuthAlternatives)
	if p.ClientAuth != "" {
		auths = append(auths, p.ClientAuth)
	}
	for _, auth := range auths {
		report.word("ClientAuth", auth, authWords)
	}
	if p.BodyFormat != "" {
		report.word("BodyFormat", p.BodyFormat, bodyWords)
	}
	if p.ClientIDParam && p.ClientAuth != AuthBasic && p.ClientAuth != AuthBasicRaw {
		report("ClientIDParam is for HTTP Basic: %s sends client_id already", p.ClientAuth)
	}
}

func (p Preset) validateURLs(report reporter) {
	for _, raw := range append(slices.Clone(p.Docs), p.Register) {
		if u, err := url.Parse(raw); raw != "" && (err != nil || u.Host == "" || u.Scheme != "https") {
			report("page %q is not an https URL", raw)
		}
	}
	values := make(map[string]string)
	for _, v := range p.Variables {
		values[v.Name] = v.Example
	}
	check := func(field, raw string, wantPath bool) {
		expanded, err := p.Expand(raw, values)
		if err != nil {
			report("%s: %w", field, err)
			return
		}
		u, err := url.Parse(expanded)
		switch {
		case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "":
			report("%s %q is not a plain https URL", field, raw)
		case wantPath == (u.Path == ""):
			report("%s %q: an endpoint has a path, and a destination has none", field, raw)
		}
	}
	for field, raw := range map[string]string{"AuthorizeURL": p.AuthorizeURL, "TokenURL": p.TokenURL, "RevokeURL": p.RevokeURL} {
		if raw != "" {
			check(field, raw, true)
		}
	}
	if len(p.Destinations) == 0 {
		report("Destinations is needed: a token goes nowhere else")
	}
	for _, raw := range p.Destinations {
		check("Destinations", raw, false)
	}
}

func (p Preset) validateVariables(report reporter) {
	used := make(map[string]bool)
	for _, raw := range append([]string{p.AuthorizeURL, p.TokenURL, p.RevokeURL}, p.Destinations...) {
		names, _ := variablesIn(raw) // validateURLs has reported the error
		for _, name := range names {
			used[name] = true
		}
	}
	seen := make(map[string]bool)
	for _, v := range p.Variables {
		if !variableName.MatchString(v.Name) || seen[v.Name] {
			report("variable %q is no name, or comes twice", v.Name)
		}
		seen[v.Name] = true
		if !used[v.Name] {
			report("variable %s is declared and not used", v.Name)
		}
		if v.Title == "" || v.Help == "" || v.Allowed == "" {
			report("variable %s: Title, Help and Allowed are what a person reads, and needed", v.Name)
		}
		if !strings.HasPrefix(v.Pattern, "^") || !strings.HasSuffix(v.Pattern, "$") {
			report("variable %s: its pattern must hold the whole value, from ^ to $", v.Name)
		}
		if err := v.Check(v.Example); err != nil {
			report("its example: %w", err)
		}
		for _, value := range hostile {
			if v.Check(value) == nil {
				report("variable %s: its pattern allows %q, which could change a URL's host", v.Name, value)
			}
		}
	}
}

func (p Preset) validateTokens(report reporter) {
	known := make([]string, len(p.KnownScopes))
	for i, scope := range p.KnownScopes {
		if known[i] = scope.Name; scope.Name == "" || scope.Means == "" {
			report("KnownScopes[%d] needs a name and a meaning", i)
		}
	}
	if p.OneScope && (len(p.Scopes) != 1 || !slices.Contains(known, p.Scopes[0])) {
		report("OneScope needs one scope, of those known")
	}
	for _, injection := range append([]Injection{p.Inject}, p.InjectAlternatives...) {
		report.word("Inject", injection.Place, placeWords)
		if injection.Name == "" || injection.Place == PlaceQuery && injection.Scheme != "" {
			report("Inject needs a name, and a scheme is for headers only")
		}
	}
	if p.DefaultLifetime < 0 && p.DefaultLifetime != NeverExpires {
		report("DefaultLifetime must not be negative")
	}
	report.word("Rotates", p.Rotates, rotationWords)
	refreshes := p.Offers(GrantRefreshToken)
	if !refreshes && (p.RefreshBeforeExpiry || p.Rotates != RotationUnknown || len(p.DeadGrantErrors) > 0) {
		report("RefreshBeforeExpiry, Rotates and DeadGrantErrors are for refresh_token")
	}
	if slices.Contains(p.DeadGrantErrors, "invalid_grant") {
		report("DeadGrantErrors: invalid_grant always counts, and is not listed")
	}
	if l := p.LockOut; (l != LockOut{}) && (l.Code == "" || l.Member == "" || l.MinWait <= 0) {
		report("LockOut needs Code, Member and MinWait")
	}
}

// Offers reports whether the preset offers a grant.
func (p Preset) Offers(grant string) bool { return slices.Contains(p.Grants, grant) }
