package caddy

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// openBrowser opens an address, if there is a browser to be seen; else the printed address is
// there. The address is passed on as one argument, and no shell sees it.
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
		go func() { _ = cmd.Wait() }() // how it ends is its own matter
	}
}

// browserCommand is what opens an address on this system: $BROWSER, if set, and nothing over SSH or
// without a display.
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
