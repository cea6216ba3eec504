package provider

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	// plainName matches the names of presets and variables.
	plainName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

	// requestWords are the grants that are also the grant_type of a token request.
	requestWords  = []string{GrantAuthorizationCode, GrantClientCredentials, GrantRefreshToken}
	pkceWords     = []string{PKCES256, PKCENone}
	answerWords   = []string{AnswerQuery, AnswerFragment}
	placeWords    = []string{PlaceHeader, PlaceQuery}
	rotationWords = []string{RotationUnknown, RotationYes, RotationNo}

	// sentToAuthorize and sentToToken are the parameters that the grants themselves send.
	// grant_type is not a parameter of an authorization request, although one provider requires it
	// there.
	sentToAuthorize = []string{
		"client_id", "code_challenge", "code_challenge_method", "redirect_uri", "response_type", "scope", "state",
	}
	sentToToken = []string{
		"client_id", "client_secret", "code", "code_verifier", "grant_type", "redirect_uri", "refresh_token", "scope",
	}
)

// Validate checks a preset against the schema. It reports everything that is wrong, or returns nil.
// The schema says that everything that the grants need is set, that words are known, that URLs use
// https, that variables are declared, and that their patterns allow no value that could change a
// URL's host.
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
		if !plainName.MatchString(name) {
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
		if slices.Contains(p.Grants[:i], grant) {
			report("Grants has %s twice", grant)
		}
	}
	code, implicit := p.Offers(GrantAuthorizationCode), p.Offers(GrantImplicit)
	if (code || implicit) != (p.AuthorizeURL != "") {
		report("AuthorizeURL is for authorization_code and implicit, and needed by them")
	}
	if asks := p.TokenURL != ""; asks != (p.ClientAuth != "") || asks != (p.BodyFormat != "") {
		report("TokenURL, ClientAuth and BodyFormat are for the grants with a token request, and go together")
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
		if param.Name == "" || slices.Contains(sentToAuthorize, param.Name) {
			report("AuthorizeParams: %q is empty, or sent already", param.Name)
		}
	}
	for _, param := range append(slices.Clone(p.TokenParams), p.LifetimeParam) {
		if slices.Contains(sentToToken, param.Name) {
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
		report.word("ClientAuth", string(auth), words(ClientAuths[:len(ClientAuths)-1])) // presets have a secret
	}
	if p.BodyFormat != "" {
		report.word("BodyFormat", string(p.BodyFormat), words(BodyFormats))
	}
	if p.ClientIDParam && p.ClientAuth != AuthBasic && p.ClientAuth != AuthBasicRaw {
		report("ClientIDParam is for HTTP Basic: %s sends client_id already", p.ClientAuth)
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
	for _, word := range p.TokenTypes {
		switch strings.ToLower(word) {
		case "", "bearer", "bearertoken", "bot", "user":
			report("TokenTypes: %q always means Bearer, and is not listed", word)
		case "mac", "dpop", "pop", "n_a":
			report("TokenTypes: %q is presented in another way than as Bearer", word)
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
