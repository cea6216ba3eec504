package tokensource

import (
	"testing"
	"time"
)

// Each row is one reason for a state. The most important reasons come first.
func TestStateOf(t *testing.T) {
	obtained := &Record{Generation: 3}
	intent := &Record{Generation: 3, Intent: &Intent{}}
	dead := &Record{Generation: 3, Intent: &Intent{}, Failure: &Failure{Class: ClassLogin}}
	for name, c := range map[string]struct {
		s    standing
		want State
	}{
		"a person disconnected the account": {standing{rec: &Record{Generation: 3, Disconnected: true},
			live: true}, StateLoginRequired},
		"the refresh token is dead, the token lives": {standing{rec: dead, live: true, renews: true},
			StateLoginRequired},
		"the refresh token is dead, and so is the token": {standing{rec: dead, renews: true}, StateLoginRequired},
		"nothing was ever connected, and a request failed": {standing{rec: &Record{}, loginFailed: true,
			interactive: true}, StateLoginRequired},
		"a login is needed soon": {standing{rec: obtained, live: true, due: true,
			loginFailed: true}, StateLoginRequired},
		"the token lives, and was refused": {standing{rec: obtained, live: true, refused: true,
			loginFailed: true}, StateLoginRequired},
		"the token lives, was refused, and nothing renews it": {standing{rec: obtained, live: true, refused: true},
			StateRefused},
		"the token lives, was refused, and is renewed": {standing{rec: obtained, live: true, refused: true,
			renews: true}, StateFresh},
		"the replacement was refused too": {standing{rec: obtained, live: true, due: true, refused: true,
			refusedAgain: true, renews: true}, StateRefused},
		"nothing renews the token, which lives for long": {standing{rec: obtained, live: true, loginFailed: true},
			StateFresh},
		"a refresh is under way in this or another process": {standing{rec: intent, live: true, due: true, underway: true,
			renews: true}, StateStale},
		"a refresh is under way after the token's end": {standing{rec: intent, underway: true, renews: true},
			StateExpired},
		"a process died in a refresh": {standing{rec: intent, live: true, renews: true},
			StateUncertain},
		"an answer was lost, and the next try is under way": {standing{rec: intent, underway: true, lost: true, renews: true},
			StateUncertain},
		"the token is due": {standing{rec: obtained, live: true, due: true, renews: true}, StateStale},
		"the token lives":  {standing{rec: obtained, live: true, renews: true}, StateFresh},
		"nothing is known": {standing{}, StateNone},
		"an attempt failed, and there was never a token":     {standing{rec: &Record{}, renews: true}, StateNone},
		"the token has ended, and is renewed without anyone": {standing{rec: obtained, renews: true}, StateExpired},
		"the token has ended, and only a person renews it": {standing{rec: obtained, interactive: true},
			StateLoginRequired},
		"a configured token has ended": {standing{rec: obtained}, StateExpired},
	} {
		if got := stateOf(c.s); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A mark belongs to a running refresh for as long as a request and its retry may take.
func TestMarkUnderway(t *testing.T) {
	now, timeout := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 10*time.Second
	for name, c := range map[string]struct {
		mark *Intent
		want bool
	}{
		"none":                     {nil, false},
		"just made":                {&Intent{Since: now}, true},
		"almost over":              {&Intent{Since: now.Add(-12*time.Second + 1)}, true},
		"over":                     {&Intent{Since: now.Add(-12 * time.Second)}, false},
		"lost":                     {&Intent{Since: now, Lost: true}, false},
		"of a clock that is ahead": {&Intent{Since: now.Add(afterTrouble + 1)}, false},
		"the request follows":      {&Intent{Since: now.Add(afterTrouble)}, true},
	} {
		if got := c.mark.underway(now, timeout); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
