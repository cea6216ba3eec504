package tokensource

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A request has its time, and a moment more if the process stood still. Contexts derived from the
// request's say, as it does, that the time was over.
func TestTheTimeOfARequest(t *testing.T) {
	const limit = 10 * time.Second
	for name, c := range map[string]struct {
		late time.Duration
		want time.Duration
	}{
		"on time":     {0, limit},
		"hardly late": {stoodStill - 1, limit},
		"stood still": {stoodStill, limit + lateAnswer},
		"long":        {time.Hour, limit + lateAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var late atomic.Int64 // nanoseconds
				clock := Clock{Elapsed: func() time.Duration { return time.Since(began) + time.Duration(late.Load()) }}.withDefaults()
				ctx, cancel := clock.limit(t.Context(), limit)
				defer cancel()
				derived, stop := context.WithCancel(ctx)
				defer stop()
				if deadline, ok := derived.Deadline(); !ok || !deadline.Equal(began.Add(limit)) {
					t.Errorf("the deadline is %v", deadline)
				}
				late.Store(int64(c.late))
				<-derived.Done()
				if took := time.Since(began); took != c.want {
					t.Errorf("ended after %v, want %v", took, c.want)
				}
				if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(derived.Err(), context.DeadlineExceeded) {
					t.Errorf("errors %v and %v", ctx.Err(), derived.Err())
				}
			})
		})
	}
}

// The time of a request ends with the context that it was made from, and when it is cancelled.
func TestTheTimeOfARequestEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := Clock{}.withDefaults()
		parent, stop := context.WithCancel(t.Context())
		first, cancelFirst := clock.limit(parent, time.Second)
		defer cancelFirst()
		second, cancel := clock.limit(t.Context(), time.Second)
		if first.Err() != nil || second.Err() != nil {
			t.Errorf("errors %v and %v before the end", first.Err(), second.Err())
		}
		stop()
		cancel()
		<-first.Done()
		<-second.Done()
		if !errors.Is(first.Err(), context.Canceled) || !errors.Is(second.Err(), context.Canceled) {
			t.Errorf("errors %v and %v", first.Err(), second.Err())
		}
	})
}
