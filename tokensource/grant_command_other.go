//go:build !unix

package tokensource

import "os/exec"

// killWithChildren does nothing: only the process itself is killed when the context of cmd ends.
func killWithChildren(*exec.Cmd) {}
