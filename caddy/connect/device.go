package connect

import (
	"context"
	"time"
)

// deviceView is a login with a code for another device, in the row of its account.
type deviceView struct {
	// Code is what the person types at the page Address. Link is that page, with the code if the
	// provider can fill it in.
	Code, Address, Link string
	// Left is how long the code can be used, and Ends when it ends.
	Left string
	Ends time.Time
	// Failed says why the login ended, and Detail what to do. Then there is no code.
	Failed, Detail string
}

// newDeviceView returns the account's login with a code, or nil. It also makes this process ask the
// provider for the token, if no other does: the process that began the login may have ended.
func newDeviceView(ctx context.Context, s Source, account string) *deviceView {
	l, err := s.Tokens.PendingLogin(ctx, account)
	if l == nil || err != nil {
		return nil // the state of the account says that the storage fails
	}
	d := l.Device
	if d.Failed != nil {
		n := loginNotice(d.Failed, false)
		return &deviceView{Failed: n.Text, Detail: n.Detail}
	}
	s.Tokens.ResumeLogin(l)
	return &deviceView{
		Code: d.UserCode.Reveal(), Address: d.VerificationURI, Link: l.URL.Reveal(), Left: Span(time.Until(d.Ends)), Ends: d.Ends.UTC(),
	}
}

// DeviceFailed says at a terminal why a login with a code failed.
func DeviceFailed(err error) string { return inTerminal.Replace(loginNotice(err, false).Text) }
