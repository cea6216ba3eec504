package rig

import (
	"maps"
	"testing"
)

// A goroutine that begins in a wrapper of its function is of the same kind before and after it
// first ran.
func TestCount(t *testing.T) {
	const frame = "\n\t/src/tls.go:967 +0x1f\ncreated by example.com/tls.(*App).clean in goroutine " +
		"1\n\t/src/tls.go:966 +0x1f"
	waiting := Count("goroutine 1 [running]:\nmain.main()\n\t/src/main.go:1\n\ngoroutine 7 " +
		"[runnable]:\nexample.com/tls.(*App).clean.gowrap2()" + frame)
	running := Count("goroutine 7 [select]:\nexample.com/tls.(*App).clean.func1({0x1, 0x2})" + frame)
	if want := (Census{"example.com/tls.(*App).clean, started by example.com/tls.(*App).clean": 1}); !maps.Equal(waiting,
		want) || !maps.Equal(running, want) {
		t.Errorf("%v, and then %v", waiting, running)
	}
}
