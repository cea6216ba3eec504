package tokensourcetest

import (
	"html/template"
	"net/http"
)

// page holds the values of a page of an authorize endpoint.
type page struct {
	Title, Text, Error string
	// Action is where the form posts to. Request identifies the authorization request.
	Action, Request string
	// Client, User and Scopes are shown for consent. Without a User, the login form is shown first.
	Client, User, Scopes string
	// PIN and QR are shown to the user of an installed application.
	PIN, QR string
}

// The pages are simple: every control has a label or a text, and nothing needs scripts.
var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{with .Error}}<p role="alert">{{.}}</p>
{{end}}{{with .Text}}<p>{{.}}</p>
{{end}}{{if .PIN}}<p>Type this PIN into your application: <output id="pin">{{.PIN}}</output></p>
<p>Or let it read this QR code's text: <code id="qr">{{.QR}}</code></p>
{{else if .Request}}<form method="post" action="{{.Action}}">
<input type="hidden" name="request" value="{{.Request}}">
{{if .User}}<p>{{.User}}, the application <strong>{{.Client}}</strong> asks for access{{with .Scopes}}: <em>{{.}}</em>{{end}}.</p>
<button name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button>
{{else}}<p><label for="username">User name</label> <input id="username" name="username" autocomplete="off" autofocus></p>
<p><label for="password">Password</label> <input id="password" name="password" type="password" autocomplete="off"></p>
<button>Log in</button>
{{end}}</form>
{{end}}</main>
</body>
</html>
`))

// showPage writes a page that no cache may keep.
func showPage(w http.ResponseWriter, status int, p page) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, p)
}
