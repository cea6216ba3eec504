package authinject_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// An HTTP client sends each request with a token of the source. The API rejects the first token, so
// the transport gets another one and sends the request once more.
func Example() {
	issued := 0
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		issued++
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"example-token-%d","token_type":"Bearer","expires_in":3600}`, issued)
	}))
	defer provider.Close()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("API received:", r.Header.Get("Authorization"))
		if r.Header.Get("Authorization") == "Bearer example-token-1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, "two orders")
	}))
	defer api.Close()

	source, err := tokensource.New(tokensource.Config{
		Name:          "orders",
		Grant:         tokensource.ClientCredentials{},
		TokenURL:      provider.URL,
		ClientID:      "orders",
		ClientSecrets: []tokensource.Value{tokensource.Literal("secret")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close(context.Background())
	destinations, err := authinject.ParseDestinations(api.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	account := source.Account("")
	client := &http.Client{Transport: &authinject.Transport{
		Source:       func(*http.Request) (authinject.TokenSource, error) { return account, nil },
		Destinations: destinations,
	}}

	res, err := client.Get(api.URL + "/orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("client received: %d %s", res.StatusCode, body)
	// Output:
	// API received: Bearer example-token-1
	// API received: Bearer example-token-2
	// client received: 200 two orders
}
