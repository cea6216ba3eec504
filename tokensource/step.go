package tokensource

import (
	"time"
)

// verb says what a step does.
type verb string

const (
	// doRead reads the stored record.
	doRead verb = "read"
	// doServe puts the stored token to use while the refresh goes on.
	doServe verb = "serve"
	// doPrepare asks the grant for the token request to send.
	doPrepare verb = "prepare"
	// doClaim asks the storage whether this process is alone, and keeps others out if it is.
	doClaim verb = "claim"
	// doLock takes the record's lock, or goes on without it after a while.
	doLock verb = "lock"
	// doSleep waits for step.wait.
	doSleep verb = "sleep"
	// doMark stores the record with a write-ahead mark. The request follows after step.wait.
	doMark verb = "mark"
	// doProbe tests whether the storage accepts writes.
	doProbe verb = "probe"
	// doAsk sends the token request, or takes the token that the grant already has.
	doAsk verb = "ask"
	// doStore stores step.rec.
	doStore verb = "store"
	// doRevoke revokes the tokens of step.rec at the provider.
	doRevoke verb = "revoke"

	// doAdopt ends the refresh with a token that another process stored.
	doAdopt verb = "adopt"
	// doPublish ends the refresh with the token that the provider granted.
	doPublish verb = "publish"
	// doConnect ends a login that connected the account. doDisconnect ends a logout. plan never
	// returns them: connect.go makes these steps for account.complete, which also publishes how a
	// refresh ended.
	doConnect    verb = "connect"
	doDisconnect verb = "disconnect"
	// doKeep ends the refresh with the token in use, because its record is now stored and the token
	// is not due.
	doKeep verb = "keep"
	// doFail ends the refresh without a new token.
	doFail verb = "fail"
)

// step is what a refresh does next.
type step struct {
	verb verb
	// why gives the reason in a sentence.
	why string
	// rec is the record to serve, to store, to revoke or to end with.
	rec *Record
	// wait is how long doSleep sleeps, how long doLock waits for the lock, and the time between
	// doMark's mark and its request.
	wait time.Duration
	// err is why the refresh failed, or nil. storage is the error of the storage, if the storage
	// failed. It can be set without err: the token is used, but could not be stored.
	err     *Error
	storage error
	// readFailed is true if storage is the error of a read and err has another cause.
	readFailed bool
	// unasked is true if the provider was not asked because the storage failed.
	unasked bool
	// dirty is true if rec could not be stored.
	dirty bool
	// asked is true if the refresh sent a token request.
	asked bool
}
