package authinject

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

type ctxKey struct{}

func TestWaitContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent := context.WithValue(t.Context(), ctxKey{}, "value")
		c := &waitContext{Context: parent, limit: time.Second}
		if c.Err() != nil || c.Value(ctxKey{}) != "value" || c.inner != nil {
			t.Fatal("looked at, and changed")
		}
		child, cancel := context.WithCancel(c)
		defer cancel()
		if deadline, ok := child.Deadline(); !ok || time.Until(deadline) != time.Second {
			t.Errorf("deadline %v", deadline)
		}
		<-child.Done()
		if child.Err() != context.DeadlineExceeded || c.Err() != context.DeadlineExceeded || c.Value(ctxKey{}) != "value" {
			t.Errorf("errors %v and %v", child.Err(), c.Err())
		}
		if waited := c.end(); waited != time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

// A source that keeps the context for longer than its call finds it ended.
func TestWaitContextAfterItsEnd(t *testing.T) {
	c := &waitContext{Context: t.Context(), limit: time.Hour}
	if c.end() != 0 {
		t.Error("waited without waiting")
	}
	<-c.Done()
	if c.Err() != context.Canceled {
		t.Errorf("error %v", c.Err())
	}
}
