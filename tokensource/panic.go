package tokensource

import (
	"fmt"
	"runtime/debug"
)

// A PanicError is the cause of an [Error] of [ClassOperator] after a grant or a storage panicked.
// Refreshes run on their own goroutines, where a panic would end the process.
type PanicError struct {
	// Type is the type of the value passed to panic. The value is not kept, because it may hold a
	// credential.
	Type string
	// Stack is the stack of the goroutine, from [debug.Stack].
	Stack []byte
}

// Error implements error.
func (p *PanicError) Error() string { return "panic with a value of type " + p.Type }

// panicked returns the failure for a value that recover returned. The value may be the failure of
// another goroutine.
func panicked(value any) *Error {
	if failure, ok := value.(*Error); ok {
		return failure
	}
	p := &PanicError{Type: fmt.Sprintf("%T", value), Stack: debug.Stack()}
	return &Error{Class: ClassOperator, Reason: "the grant or the storage panicked", cause: p}
}

// guarded calls run, which calls grants and storages, and turns a panic into a failure.
func guarded(run func() step) (end step) {
	defer func() {
		if value := recover(); value != nil {
			end = step{verb: doFail, err: panicked(value)}
		}
	}()
	return run()
}

// guardedError is like guarded, for a function that returns an error.
func guardedError(run func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panicked(value)
		}
	}()
	return run()
}
