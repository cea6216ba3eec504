package connect

import (
	"context"
	"time"
)

// deviceView is a login with a code for another device, in the row of its account.
type deviceView struct {
	// Code is the code that the person types on the page Address. Link is the same page, with the
	// code if the provider can fill it in.
	Code, Address, Link string
	// Left is how long the code can still be used, and Ends is when it expires.
	Left string
	Ends time.Time
	// Failed says why the login ended, and Detail what to do. Then there is no code.
	Failed, Detail string
}

// newDeviceView returns the account's login with a code, or nil. It also makes this process ask the
// provider for the token, if no other process asks: the process that began the login may have
// ended.
func newDeviceView(ctx context.Context, s Source, account string) *deviceView {
	l, err := s.Tokens.PendingLogin(ctx, account)
	if l == nil || err != nil {
		return nil // no login is pending, or the storage fails; the row's state shows a failure
	}
	d := l.Device
	if d.Failed != nil {
		n := loginNotice(d.Failed, false)
		return &deviceView{Failed: n.Text, Detail: n.Detail}
	}
	s.Tokens.ResumeLogin(l)
	return &deviceView{
		Code: d.UserCode.Reveal(), Address: d.VerificationURI, Link: l.URL.Reveal(), Left: Span(time.Until(d.Ends)),
		Ends: d.Ends.UTC(),
	}
}

// DeviceFailed returns the text for a terminal that says why a login with a code failed.
func DeviceFailed(err error) string { return inTerminal.Replace(loginNotice(err, false).Text) }
