//go:build !(darwin || freebsd || linux)

package caddy

import (
	"errors"

	"github.com/authinject/caddy-authinject/tokensource"
)

// occupancy cannot find out on this system which processes use a storage directory.
type occupancy struct{}

func occupancyOf(string) *occupancy { return new(occupancy) }

// Enter implements [tokensource.Exclusive].
func (*occupancy) Enter() error { return nil }

// Claim implements [tokensource.Exclusive].
func (*occupancy) Claim(string) (func(), error) { return nil, errors.ErrUnsupported }

// Interface guard
var _ tokensource.Exclusive = (*occupancy)(nil)
