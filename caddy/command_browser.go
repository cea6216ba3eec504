package caddy

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// openBrowser opens an address, if there is a browser on a display. The address is one argument,
// and no shell reads it.
func openBrowser(address string) {
	if !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
		return
	}
	name, args := browserCommand(os.Getenv, runtime.GOOS)
	if name == "" {
		return
	}
	cmd := exec.Command(name, append(args, address)...) //nolint:noctx // the operator's own browser, which outlives the command
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // the exit status of the browser does not matter
	}
}

// browserCommand returns the command that opens an address on this system: $BROWSER, if set, and
// none over SSH or without a display.
func browserCommand(getenv func(string) string, system string) (name string, args []string) {
	if browser := getenv("BROWSER"); browser != "" {
		return browser, nil
	}
	if getenv("SSH_CONNECTION") != "" || getenv("SSH_TTY") != "" {
		return "", nil
	}
	switch system {
	case "darwin":
		return "open", nil
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler"}
	}
	if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
		return "", nil
	}
	return "xdg-open", nil
}
