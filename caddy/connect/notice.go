package connect

import (
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// notice tells a person the result of the form that they have sent. The page shows it once.
type notice struct {
	// Alert says that a person has to do something.
	Alert bool
	// Text is for the person, Detail is technical, and Provider is what the provider says.
	Text, Detail, Provider string
}

func alert(text string) *notice { return &notice{Alert: true, Text: text} }

// notices holds notices until they are shown. After a form, the browser is redirected to the page
// with the random id of a notice, so no address contains a part of a provider's answer.
var notices = struct {
	mu   sync.Mutex
	kept map[string]keptNotice
}{kept: make(map[string]keptNotice)}

type keptNotice struct {
	notice *notice
	until  time.Time
}

const (
	noticeLifetime = 5 * time.Minute
	maxNotices     = 256
)

// storeNotice stores n and returns its id for takeNotice.
func storeNotice(n *notice) string {
	id := rand.Text()
	notices.mu.Lock()
	defer notices.mu.Unlock()
	now := time.Now()
	// If there are too many notices, drop others, too, in no order. A person who loses a notice sees
	// the new state of the account on the page all the same.
	for other, kept := range notices.kept {
		if now.After(kept.until) || len(notices.kept) >= maxNotices {
			delete(notices.kept, other)
		}
	}
	notices.kept[id] = keptNotice{n, now.Add(noticeLifetime)}
	return id
}

// takeNotice removes the notice with that id and returns it. It returns nil if no notice has the
// id, or if the notice is too old.
func takeNotice(id string) *notice {
	notices.mu.Lock()
	defer notices.mu.Unlock()
	kept, ok := notices.kept[id]
	delete(notices.kept, id)
	if !ok || time.Now().After(kept.until) {
		return nil
	}
	return kept.notice
}

// connected returns the notice for a login that succeeded.
func connected(s Source, account string) *notice {
	n := &notice{Text: "Connected " + AccountName(s.Name, account) + "."}
	if s.Tokens.Account(account).Status().Unsaved {
		n.Alert = true
		n.Text += " But the storage cannot be written. If the proxy restarts now, this login is lost. " +
			"The proxy tries again to store it."
	}
	return n
}

// loginNotice says why a login failed and what to do. manual is true if a person typed the code.
func loginNotice(err error, manual bool) *notice {
	e, ok := errors.AsType[*tokensource.Error](err)
	if !ok {
		e = &tokensource.Error{Class: tokensource.ClassLogin}
	}
	n := alert("")
	switch { // the first three texts are complete without a Detail
	case errors.Is(err, tokensource.ErrNoLogin):
		return alert("That login is over. It was finished or cancelled before, or it took longer than 10 minutes. " +
			"Press Connect to begin a new login.")
	case e.Code == "access_denied":
		return alert("Access was denied at the provider. Nothing was changed. " +
			"Press Connect to try again, and allow access at the provider.")
	case e.Code == "expired_token":
		return alert("The code expired before you allowed access. Nothing was changed. Press Connect for a new code.")
	case manual && (e.Code == "invalid_request" || e.Code == "invalid_grant" && e.Class == tokensource.ClassLogin):
		n.Text = "The provider did not accept the code. It is mistyped, too old, or was used before. " +
			"Nothing was changed. Type the code again, or press Connect for a new one."
	case e.Code == "invalid_grant":
		n.Text = "The provider did not accept the code that it had just given. Nothing was changed. " +
			"Press Connect to try again. " +
			"If it fails again, check that redirect_url is exactly the address that is registered at the provider."
	case strings.HasPrefix(e.Problem(), "storage_"):
		n.Text = "This proxy could not read or write its storage, so the login could not be kept. " +
			"Nothing was changed. Tell the operator of this proxy."
	case e.Class == tokensource.ClassWait:
		n.Text = "The provider could not be asked, or did not answer as expected. " +
			"Nothing was changed. Try again in a few minutes."
	case e.Class == tokensource.ClassOperator:
		n.Text = "The operator of this proxy has to correct its configuration before this account can be connected. " +
			"Nothing was changed."
	default:
		n.Text = "The login failed. Nothing was changed. Press Connect to try again."
	}
	n.Detail = sentence(e.What())
	if remedy := e.Remedy(); e.Class == tokensource.ClassOperator && remedy != "" {
		n.Detail += " What to do: " + remedy + "."
	}
	return n
}

// sentence returns a reason with a capital letter and a full stop.
func sentence(reason string) string {
	if reason == "" {
		return ""
	}
	return strings.ToUpper(reason[:1]) + reason[1:] + "."
}

// AccountName names an account of a source to a person.
func AccountName(source, account string) string {
	if account == "" {
		return source
	}
	return "account " + Printable(account) + " of " + source
}

// inTerminal changes a text of the page for use in a terminal.
var inTerminal = strings.NewReplacer("Press Connect", "Run this command again", "press Connect",
	"run this command again")

// TypedCodeFailed returns the text for a terminal that says why a login with a typed code failed.
func TypedCodeFailed(err error) string { return inTerminal.Replace(loginNotice(err, true).Text) }
