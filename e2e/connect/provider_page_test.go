package connect

// user is who has an account at every provider, with any password.
const user = "ada"

// providerPage is a provider's own page, on which a person logs in and consents.
type providerPage struct{ *tab }

// Login logs the person in, with the form's first button.
func (p providerPage) Login() {
	p.t.Helper()
	p.LoginAs(user)
}

// LoginAs logs a person in under that name.
func (p providerPage) LoginAs(user string) {
	p.t.Helper()
	p.fill("#username", user)
	p.fill("#password", "any password")
	p.follow(`//button[normalize-space()="Log in"]`)
}

// Allow logs in and consents.
func (p providerPage) Allow() {
	p.t.Helper()
	p.Login()
	p.follow(`//button[normalize-space()="Allow"]`)
}

// Deny logs in and does not consent.
func (p providerPage) Deny() {
	p.t.Helper()
	p.Login()
	p.follow(`//button[normalize-space()="Deny"]`)
}

// PIN returns the PIN that the provider shows.
func (p providerPage) PIN() string {
	p.t.Helper()
	pin := p.text("#pin")
	if pin == "" {
		p.t.Fatalf("no PIN is shown at %s: %s", p.at(), p.text("body"))
	}
	return pin
}
