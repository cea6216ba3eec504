package authinject

import (
	"context"
	"sync"
	"time"
)

// waitContext is a request's context with a time limit. The limit starts with the first call of
// Deadline or Done, which starts the timer. If there is a live token, there is no such call, and
// the limit costs nothing.
type waitContext struct {
	context.Context // the request's own

	limit time.Duration

	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
	ended  bool
	since  time.Time
}

// started returns the context with its timer running.
func (c *waitContext) started() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.since = time.Now()
		c.inner, c.cancel = context.WithTimeout(c.Context, c.limit)
		if c.ended {
			c.cancel()
		}
	}
	return c.inner
}

// peek returns the context with the timer if it was started, else the request's context.
func (c *waitContext) peek() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner
	}
	return c.Context
}

// end stops the timer and returns how long ago it was started.
func (c *waitContext) end() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.inner == nil {
		return 0
	}
	c.cancel()
	return time.Since(c.since)
}

func (c *waitContext) Deadline() (time.Time, bool) { return c.started().Deadline() }
func (c *waitContext) Done() <-chan struct{}       { return c.started().Done() }
func (c *waitContext) Err() error                  { return c.peek().Err() }

// Value uses the context with the timer, if it was started. Then package context recognizes it, and
// a child needs no goroutine.
func (c *waitContext) Value(key any) any { return c.peek().Value(key) }
