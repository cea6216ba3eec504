package tokensource

import "slices"

const (
	// skewed is the first part of a remedy for a failure that clocks can cause. It is left out if
	// they agree.
	skewed = "[correct the clock that is wrong: this machine's clock (now {clock}) is {skew} the provider's. If that is not " +
		"enough, ]"
	// connectAt follows "connect the account": where a person does that. It is left out if no
	// person can.
	connectAt = "[ on {connects}, or run: caddy authinject login {source}][ --account {account}]"
	// basicWanted is the part of a remedy about the server's wish for another client
	// authentication.
	basicWanted = "[. The answer asks for HTTP Basic: try client_auth {basic}]"
)

// remedies is the one table of remedies. The first row that matches an error counts. `make golden`
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
