package tokensource

import "slices"

const (
	// skewed is the part of a remedy about clocks. It is left out if they agree.
	skewed = "[; this machine's clock is {skew} the provider's: correct it]"
	// basicWanted is the part of a remedy about the server's wish for another client authentication.
	basicWanted = "[; the answer asks for HTTP Basic: try client_auth {basic}]"
)

// remedies is the one table of remedies. The first row that matches an error counts. `make golden`
// writes docs/troubleshooting.md from the table.
var remedies = slices.Concat(
	refusals,
	responses,
	connectionFailures,
	configurationMistakes,
	metadataProblems,
	storageProblems,
	subjectProblems,
	cloudProblems,
	personProblems,
	destinationProblems,
)
