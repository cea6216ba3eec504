package tokensource_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"

	"github.com/authinject/caddy-authinject/tokensource"
)

// authorizationServer grants a token to every client.
func authorizationServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"example-token","token_type":"Bearer","expires_in":3600}`)
	}))
}

// A source gets its token at the first call. To get it earlier, call [tokensource.Source.Warm].
func ExampleSource() {
	server := authorizationServer()
	defer server.Close()
	src, err := tokensource.New(tokensource.Config{
		Name:          "orders",
		Grant:         tokensource.ClientCredentials{},
		TokenURL:      server.URL,
		ClientID:      "orders",
		ClientSecrets: []tokensource.Value{tokensource.Literal("secret")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close(context.Background())

	tok, err := src.Token(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tok.Generation, tok.AccessToken())
	// Output: 1 example-token
}

// An HTTP client of golang.org/x/oauth2 sends the tokens of a source.
func ExampleSource_OAuth2() {
	server := authorizationServer()
	defer server.Close()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	defer api.Close()
	src, err := tokensource.New(tokensource.Config{
		Name: "orders", Grant: tokensource.ClientCredentials{}, TokenURL: server.URL,
		ClientID: "orders", ClientSecrets: []tokensource.Value{tokensource.Literal("secret")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close(context.Background())

	client := &http.Client{Transport: &oauth2.Transport{Source: src.OAuth2(context.Background())}}
	res, err := client.Get(api.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(string(body))
	// Output: Bearer example-token
}
