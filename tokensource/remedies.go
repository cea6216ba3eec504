package tokensource

import "slices"

const (
	// skewed is the first part of a remedy for a failure that a wrong clock can cause. It is left
	// out if the clocks agree.
	skewed = "[correct the clock that is wrong: this machine's clock (now {clock}) is {skew} the provider's. If that is not " +
		"enough, ]"
	// jwtSkewed is skewed for refusals that a wrong clock causes only if the request holds a JWT.
	jwtSkewed = "[correct the clock that is wrong: this machine's clock (now {clock}) is {jwt_skew} the provider's, and the " +
		"request holds a JWT with a time. If that is not enough, ]"
	// ifEnded is a part of the remedy for a refused refresh whose reason is not known.
	ifEnded = "[. If the provider's words mean that the refresh token has ended, {refresh_again}]"
	// connectAt follows "connect the account" in a remedy, and says where a person does that. It is
	// left out if no person can connect the account.
	connectAt = "[ on {connects}, or run: caddy authinject login {source}][ --account {account}]"
	// basicWanted is the part of a remedy for a server that asks for HTTP Basic. It is left out if
	// the server does not.
	basicWanted = "[. The answer asks for HTTP Basic: try client_auth {basic}]"
)

// remedies is the table of all remedies. The first row that matches an error is used. `make golden`
// writes docs/troubleshooting.md from the table.
var remedies = slices.Concat(
	refusals,
	responses,
	upstreamProblems,
	connectionFailures,
	configurationMistakes,
	metadataProblems,
	storageProblems,
	subjectProblems,
	cloudProblems,
	personProblems,
	destinationProblems,
	serverProblems,
	otherRefusals,
)
