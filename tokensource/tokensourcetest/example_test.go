package tokensourcetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A client refreshes, and the response is lost. The client tries again with the same refresh token,
// which a provider with a grace accepts.
func Example() {
	srv := tokensourcetest.NewServer(tokensourcetest.Config{
		Rotation: tokensourcetest.GraceRotation(30 * time.Second),
	})
	defer srv.Close()
	refreshToken := srv.IssueRefreshToken("ada")
	srv.Script(tokensourcetest.LoseAnswer())

	var answer struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	for answer.AccessToken == "" {
		resp, err := srv.Client().PostForm(srv.TokenURL(), url.Values{
			"grant_type":    {"refresh_token"},
			"refresh_token": {refreshToken},
			"client_id":     {tokensourcetest.DefaultClientID},
			"client_secret": {tokensourcetest.DefaultClientSecret},
		})
		if err != nil {
			fmt.Println("no answer")
			continue
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil {
			fmt.Println("no JSON:", err)
			return
		}
	}

	req, _ := http.NewRequest(http.MethodGet, srv.APIURL(), nil)
	req.Header.Set("Authorization", "Bearer "+answer.AccessToken)
	resp, err := srv.Client().Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println("API:", resp.Status)

	for _, r := range srv.TokenRequests() {
		fmt.Printf("request %d: %s, whole answer: %t\n", r.Number, r.Outcome, r.Whole)
	}
	fmt.Println("violations:", len(srv.Check()))
	for _, v := range srv.CheckStored(func(token string) bool { return false }) {
		fmt.Println(v)
	}
	// Output:
	// no answer
	// API: 200 OK
	// request 1: issued, whole answer: false
	// request 2: issued, whole answer: true
	// violations: 0
	// a refresh token is never lost: refresh token 2 of "ada" was answered, never used, and is not stored
}
