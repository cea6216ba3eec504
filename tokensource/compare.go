package tokensource

import "cmp"

// comparison is how a stored record relates to the known one. The order of the values matters: below
// same the known record is used, and from newer on the stored one.
type comparison int

const (
	absent    comparison = iota // nothing is stored
	overruled                   // the known record has a person's decision that the stored one lacks
	older                       // the stored record has an older token
	same                        // both have the same token
	released                    // both have the same token, and only the known one has a mark
	differs                     // both are of the same age, with different refresh tokens
	newer                       // the stored record has a newer token
	decided                     // the stored record has a person's decision that the known one lacks
)

// compare tells how the stored record relates to the known one. A person's decision counts before
// the generation: a refresh that began before the decision never undoes it, whichever process ran
// it. If the generations are equal and the refresh tokens are not, one record was stored late, and
// the token that was obtained later counts. Generations of records that began with different
// configured refresh tokens say little. Of these, the stored record also counts as newer if its token
// was obtained later.
func compare(known, stored *Record) comparison {
	if stored == nil {
		return absent
	}
	byPerson := stored.Decided.Compare(known.Decided)
	byGeneration := cmp.Compare(stored.Generation, known.Generation)
	replaced := !stored.RefreshToken.Equal(known.RefreshToken)
	if stored.Seed != known.Seed && stored.Obtained.After(known.Obtained) {
		byGeneration = 1 // it began with a refresh token that was configured later
	}
	switch {
	case byPerson > 0:
		return decided
	case byPerson < 0:
		return overruled
	case byGeneration > 0, byGeneration == 0 && replaced && stored.Obtained.After(known.Obtained):
		return newer
	case byGeneration < 0, replaced && known.Obtained.After(stored.Obtained):
		return older
	case replaced:
		return differs
	case known.Intent != nil && stored.Intent == nil:
		return released
	}
	return same
}
