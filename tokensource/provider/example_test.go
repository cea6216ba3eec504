package provider_test

import (
	"fmt"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

func ExamplePreset_Expand() {
	p, _ := provider.Get("accelo")
	to, err := p.Expand(p.TokenURL, map[string]string{"deployment": "planet-express"})
	fmt.Println(to, err)
	_, err = p.Expand(p.TokenURL, map[string]string{"deployment": "evil.com/"})
	fmt.Println(err)
	// Output:
	// https://planet-express.api.accelo.com/oauth2/v0/token <nil>
	// variable deployment cannot be "evil.com/"; allowed are lower-case letters, digits, - and _, such as planet-express
}
