package tokensource

import (
	"fmt"
	"runtime/debug"
)

// A PanicError is the cause of an [Error] of [ClassOperator] when a grant or a storage panicked. Refreshes
// run on goroutines of their own, where it would end the process.
type PanicError struct {
	// Type is that of the value it panicked with. The value is not kept: it may hold a
	// credential.
	Type string
	// Stack is the goroutine's, from [debug.Stack].
	Stack []byte
}

// Error implements error.
func (p *PanicError) Error() string { return "panic with a value of type " + p.Type }

// panicked is the failure for what recover returned.
func panicked(value any) *Error {
	p := &PanicError{Type: fmt.Sprintf("%T", value), Stack: debug.Stack()}
	return &Error{Class: ClassOperator, Reason: "the grant or the storage panicked", cause: p}
}

// guarded runs what asks grants and storages, and makes a panic in it a failure.
func guarded(run func() step) (end step) {
	defer func() {
		if value := recover(); value != nil {
			end = step{verb: doFail, err: panicked(value)}
		}
	}()
	return run()
}

// guardedError is guarded for what returns an error.
func guardedError(run func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panicked(value)
		}
	}()
	return run()
}
