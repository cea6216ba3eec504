// Package suggest finds the known word that a misspelled word of a configuration probably means.
package suggest

import (
	"slices"
	"strings"
)

// DidYouMean returns the part of an error that suggests the most similar known word, such as
// " (did you mean scopes?)". It is empty if no known word is similar.
func DidYouMean(word string, known []string) string {
	if found := find(strings.ToLower(word), known); found != "" {
		return " (did you mean " + found + "?)"
	}
	return ""
}

// Allowed returns the end of an error about an unknown word: the suggestion of [DidYouMean], if
// there is one, and all known words, such as " (did you mean form?); allowed are form, json".
func Allowed(word string, known []string) string {
	return DidYouMean(word, known) + "; allowed are " + strings.Join(known, ", ")
}

func find(word string, known []string) string {
	for _, meant := range synonyms[word] {
		if name, _, _ := strings.Cut(meant, " "); slices.Contains(known, name) {
			return meant
		}
	}
	if len(word) < 3 {
		return ""
	}
	best, least := "", len(word)/3+1 // a third of the letters and one more may be wrong
	for _, other := range known {
		if d := Distance(word, strings.ToLower(other), least+1); d < least || d == least && best == "" {
			best, least = other, d
		}
	}
	if best != "" {
		return best
	}
	// The word may be a part of a known word, as lifetime is a part of default_lifetime.
	at := slices.IndexFunc(known, func(other string) bool { return slices.Contains(strings.Split(other, "_"), word) })
	if at < 0 {
		return ""
	}
	return known[at]
}

// synonyms are other names for words of the configuration. They come from the standards, from other
// programs and from the settings pages of providers, and are not similar to the known words. Each
// has one or more meanings. The first meaning that is allowed where the word is used is suggested.
// If a meaning has several words, its first word is the known one.
var synonyms = map[string][]string{
	// Options of a source and of the blocks in it.
	"secret":                     {"client_secret", "client_secrets"},
	"password":                   {"client_secret", "client_secrets"},
	"id":                         {"client_id", "app_id"},
	"endpoint":                   {"token_url"},
	"url":                        {"token_url", "api_url"},
	"token_endpoint":             {"token_url"},
	"access_token_url":           {"token_url"},
	"auth_url":                   {"authorize_url"},
	"authorization_url":          {"authorize_url"},
	"authorization_endpoint":     {"authorize_url"},
	"device_authorization_url":   {"device_url"},
	"revocation_url":             {"revoke_url"},
	"revocation_endpoint":        {"revoke_url"},
	"callback":                   {"redirect_url"},
	"callback_url":               {"redirect_url"},
	"redirect_uri":               {"redirect_url"},
	"discovery_url":              {"issuer"},
	"iss":                        {"issuer"},
	"sub":                        {"subject", "subject_token"},
	"aud":                        {"audience", "token_param audience"},
	"audience":                   {"token_param audience", "id_token"},
	"audiences":                  {"audience", "token_param audience"},
	"auth_method":                {"client_auth"},
	"token_endpoint_auth_method": {"client_auth"},
	"grant_type":                 {"grant"},
	"flow":                       {"grant"},
	"access_token":               {"token"},
	"pat":                        {"token"},
	"expires_at":                 {"expires"},
	"expires_in":                 {"default_lifetime", "lifetime", "ttl"},
	"ttl":                        {"default_lifetime", "lifetime"},
	"header":                     {"token_header", "inject header"},
	"headers":                    {"token_header", "token_headers", "inject header"},
	"params":                     {"token_param", "token_params"},
	"extra_params":               {"token_param", "token_params"},
	"proof_key":                  {"pkce"},
	"allowed_hosts":              {"allow_hosts", "destinations"},
	"upstreams":                  {"destinations"},
	"tls":                        {"tls_client_auth", "token_transport http { ... }"},
	"ca":                         {"token_transport http { ... }"},
	"ca_cert":                    {"token_transport http { ... }"},
	"proxy":                      {"token_transport http { ... }"},
	"private_key":                {"key", "private_key_jwt"},
	"key_file":                   {"key"},
	"keyfile":                    {"key"},
	"pem":                        {"key"},
	"algorithm":                  {"alg"},
	"key_id":                     {"kid"},
	"cert":                       {"certificate"},
	"exec":                       {"run"},
	"command":                    {"run"},
	"cors":                       {"allow_origins"},
	"max_body":                   {"retry_body"},
	"on_behalf":                  {"on_behalf_of"},
	"obo":                        {"on_behalf_of"},

	// Values.
	"basic":                 {"client_secret_basic"},
	"post":                  {"client_secret_post"},
	"body":                  {"client_secret_post"},
	"request_body":          {"client_secret_post"},
	"jwt":                   {"private_key_jwt", "jwt_bearer"},
	"mtls":                  {"tls_client_auth"},
	"public":                {"none"},
	"off":                   {"none"},
	"urlencoded":            {"form"},
	"form-data":             {"form"},
	"x-www-form-urlencoded": {"form"},
	"bearer":                {"header", "static"},
	"authorization":         {"header"},
	"parameter":             {"query"},
	"code":                  {"authorization_code"},
	"auth_code":             {"authorization_code"},
	"login":                 {"authorization_code"},
	"machine":               {"client_credentials"},
	"m2m":                   {"client_credentials"},
	"device":                {"device_code"},
	"pkce":                  {"authorization_code"},
	"refresh":               {"refresh_token"},
	"script":                {"command"},
	"plain":                 {"S256"},
	"sha256":                {"S256"},
	"localhost":             {"loopback"},
	"all":                   {"any", "none"},
	"everyone":              {"any"},
	"lan":                   {"private_ranges"},
	"private":               {"private_ranges"},
	"file":                  {"file_system"},
	"local":                 {"file_system"},

	// The grants of RFC 7523, RFC 8628 and RFC 8693 by the names of their token requests.
	"urn:ietf:params:oauth:grant-type:jwt-bearer":     {"jwt_bearer"},
	"urn:ietf:params:oauth:grant-type:device_code":    {"device_code"},
	"urn:ietf:params:oauth:grant-type:token-exchange": {"token_exchange"},
}

// Distance returns how many letters must be replaced, inserted, removed or swapped with their
// neighbour to turn a into b. It returns at most limit.
func Distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = last[j-1]
			if a[i-1] != b[j-1] {
				row[j]++
			}
			row[j] = min(row[j], last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return min(row[len(b)], limit)
}
