package tokensource

import (
	"cmp"
	"errors"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/authinject/caddy-authinject/internal/shell"
)

// Remedy describes one kind of failure for people. Every place that shows errors takes the
// words from [Remedies]: the log, problem bodies, the admin API, metrics, the commands, and
// docs/troubleshooting.md, whose headings are the texts.
type Remedy struct {
	// Problem names the kind in one word, for programs. It does not change.
	Problem string
	// Text is a part of the error's text, word for word. Nothing in it varies, except the status.
	Text string
	// Also are other texts of errors of this kind. Each is a part of the heading, too.
	Also []string
	// Class is the usual class of such an error.
	Class Class
	// Cause explains the failure.
	Cause string
	// Do says what to do. {name} stands for a fact about the source; a part in brackets is left out
	// if a fact in it is not known.
	Do string
	// More is what else the documentation says.
	More string

	// quiet: the error's text does not end with Do, because no one has to act, or another text says
	// how.
	quiet bool
	// match reports whether the row is for e. Nil means that Text or one of Also is in the error's
	// reason.
	match func(e *Error) bool
}

func (r *Remedy) matches(e *Error) bool {
	if r.match != nil {
		return r.match(e)
	}
	return strings.Contains(e.Reason, r.Text) || containsAny(e.Reason, r.Also)
}

// Remedies returns the remedies for all kinds of failure, in the order of the documentation.
func Remedies() []Remedy { return slices.Clone(remedies) }

// RemedyFor returns what to do about the kind of failure with that [Remedy.Problem], without the
// facts of a source. It is empty if there is no such kind.
func RemedyFor(problem string) string {
	for i := range remedies {
		if remedies[i].Problem == problem {
			return remedies[i].Do
		}
	}
	return ""
}

// remedy returns the first remedy that matches e, or nil.
func (e *Error) remedy() *Remedy {
	e = e.root()
	for i := range remedies {
		if r := &remedies[i]; r.matches(e) {
			return r
		}
	}
	return nil
}

// Problem returns the kind of failure in one word, for programs; empty if it is none of [Remedies].
func (e *Error) Problem() string {
	if r := e.remedy(); r != nil {
		return r.Problem
	}
	return ""
}

// Remedy returns what a person can do about the failure, with the values of the source's
// configuration. It is empty if nothing more is known than the reason.
func (e *Error) Remedy() string {
	if r := e.remedy(); r != nil {
		return e.filled(r)
	}
	return ""
}

// filled returns what r says to do, with the facts of e.
func (e *Error) filled(r *Remedy) string {
	e = e.root()
	return fill(r.Do, func(name string) string {
		switch name {
		case "source":
			return e.Source
		case "said_source":
			if e.said.IsZero() {
				return ""
			}
			return e.Source
		case "account": // an argument of a command
			if e.Account == "" {
				return ""
			}
			return shell.Word(e.Account)
		case "until":
			if e.RetryAt.IsZero() {
				return ""
			}
			return shownClock(e.RetryAt)
		case "host", "host_name": // the second is without a port
			_, host, _ := strings.Cut(e.Endpoint, "://")
			if bare, _, err := net.SplitHostPort(host); err == nil && name == "host_name" {
				return bare
			}
			return host
		case "plain":
			const plain = "http://"
			if strings.HasPrefix(e.Endpoint, plain) {
				return plain
			}
			return ""
		case "told_until", "ask_now":
			return e.waitFact(name)
		case "variable":
			return cmp.Or(e.variable(), usualFacts[name])
		case "move_file":
			return e.moveFile()
		case "value_cure":
			return cmp.Or(e.valueCure(), usualFacts[name])
		}
		return cmp.Or(e.facts()[name], usualFacts[name])
	})
}

// waitFact returns a fact about a wait that the provider asked for by Retry-After: its end, or, if
// it is long and the source asks by itself, the arguments of the command that asks at once.
func (e *Error) waitFact(name string) string {
	switch {
	case e.told.IsZero():
		return ""
	case name == "told_until":
		return shownClock(e.told)
	case e.facts()["exchanges"] != "" || !e.toldLong:
		return ""
	case e.Account != "":
		return e.Source + " --account " + shell.Word(e.Account)
	}
	return e.Source
}

// moveFile says what to do if a part of the storage's path is a file. While a token is not stored, the
// path must not be corrected, because that needs a reload.
func (e *Error) moveFile() string {
	why := e.facts()["not_directory"]
	switch {
	case why == "":
		return ""
	case e.facts()["unsaved"] != "":
		return "move the file away, because " + why
	}
	return "move the file away, or correct the path of the storage, because " + why
}

// valueCure says what to do about the file whose value could not be read, or "" if e has another
// cause.
func (e *Error) valueCure() string {
	failed, ok := errors.AsType[*fs.PathError](e.cause)
	switch {
	case !ok:
		return ""
	case errors.Is(failed, fs.ErrNotExist):
		return "write the value into the file " + failed.Path + ", which does not exist, and let this process read it. " +
			"No restart is needed"
	case errors.Is(failed, fs.ErrPermission):
		return "let this process read the file " + failed.Path + ". No restart is needed"
	}
	return ""
}

// variable returns the name of the environment variable whose missing value caused e, or "".
func (e *Error) variable() string {
	if unset, ok := errors.AsType[interface {
		error
		Variable() string
	}](e.cause); ok {
		return unset.Variable()
	}
	return ""
}

// What returns what happened, with the status and the error code, and without the source and the
// remedy.
func (e *Error) What() string {
	var b strings.Builder
	b.WriteString(e.Reason)
	between, code := ", status ", ", error "
	if strings.HasSuffix(e.Reason, answeredSuffix) {
		between, code = " ", " "
		if e.Status == 0 && e.Code == "" {
			b.WriteString(" with an error")
		}
	}
	if e.Status != 0 {
		b.WriteString(between + strconv.Itoa(e.Status))
	}
	if e.Code != "" {
		b.WriteString(code + e.Code)
	}
	if e.deadToken {
		b.WriteString(" (the provider no longer accepts the refresh token)")
	}
	if e.LastLogin != nil {
		b.WriteString("; the last login failed: " + e.LastLogin.What())
	}
	return b.String()
}

const (
	// answeredReason is the reason of a token endpoint's refusal. The status and the error code
	// follow it.
	answeredReason = "the token endpoint" + answeredSuffix
	answeredSuffix = " answered"
)

// fill replaces {name} in text by its value. A part in brackets is left out if a value in it is
// empty.
func fill(text string, value func(name string) string) string {
	var b strings.Builder
	for text != "" {
		at := strings.IndexAny(text, "[{")
		if at < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:at])
		if text[at] == '{' {
			name, rest, _ := strings.Cut(text[at+1:], "}")
			b.WriteString(value(name))
			text = rest
			continue
		}
		part, rest, _ := strings.Cut(text[at+1:], "]")
		complete := true
		part = fill(part, func(name string) string {
			v := value(name)
			complete = complete && v != ""
			return v
		})
		if complete {
			b.WriteString(part)
		}
		text = rest
	}
	return b.String()
}

// byCode returns a match for an error code. Neither it nor byMeaning matches if the provider uses the
// code to say that a refresh token is dead; see [Config.DeadGrantErrors].
func byCode(code string) func(*Error) bool {
	return func(e *Error) bool { return e.Code == code && !e.deadToken }
}

func byMeaning(meaning codeMeaning) func(*Error) bool {
	return func(e *Error) bool { return e.meaning() == meaning && !e.deadToken }
}

func byReason(parts ...string) func(*Error) bool {
	return func(e *Error) bool { return containsAny(e.Reason, parts) }
}

func containsAny(text string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

// and returns a match for an error that all of matches match.
func and(matches ...func(*Error) bool) func(*Error) bool {
	return func(e *Error) bool {
		return !slices.ContainsFunc(matches, func(match func(*Error) bool) bool { return !match(e) })
	}
}

// noError is the match of a row for errors of another type than [*Error]: package authinject looks
// it up by its problem.
func noError(*Error) bool { return false }

func ofClass(class Class) func(*Error) bool {
	return func(e *Error) bool { return e.Class == class }
}

// mute returns a match for an endpoint that answered one of the statuses without an error code.
func mute(statuses ...int) func(*Error) bool {
	return func(e *Error) bool {
		return e.Code == "" && strings.HasSuffix(e.Reason, answeredSuffix) && slices.Contains(statuses, e.Status)
	}
}

// statusFrom returns a match for an endpoint that answered with status least or a higher one.
func statusFrom(least int) func(*Error) bool {
	return func(e *Error) bool { return strings.HasSuffix(e.Reason, answeredSuffix) && e.Status >= least }
}

// askProvider says where an operator reads the provider's own words.
const askProvider = "[. GET /authinject/sources/{said_source}?details=1 of the admin API shows the provider's own words]"
