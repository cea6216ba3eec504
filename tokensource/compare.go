package tokensource

// comparison is how a stored record relates to a known one.
type comparison int

const (
	absent    comparison = iota // nothing is stored
	overruled                   // older than a person's decision that this process knows
	older
	same     // about the same token
	released // about the same token, but the known record's mark is gone
	differs  // of the same age, but with another refresh token
	newer
	decided // newer, because a person has decided since
)

// compare tells how the stored record relates to the known one. A person's decision counts before
// the generation: a refresh that began before the decision never undoes it, whichever process ran
// it. Two records of one generation differ if one of them was stored late. Then the token that was
// obtained later counts. The same holds for records that began with different configured refresh
// tokens.
func compare(known, stored *Record) comparison {
	if stored == nil {
		return absent
	}
	byPerson, byGeneration := stored.Decided.Compare(known.Decided), int(0)
	switch {
	case stored.Generation > known.Generation:
		byGeneration = 1
	case stored.Generation < known.Generation:
		byGeneration = -1
	}
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
