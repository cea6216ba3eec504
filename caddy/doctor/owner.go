package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Users tells which user a command runs as, and who owns what it would write to.
type Users struct {
	// Self is the effective uid of the command. A negative one means that the system has no uids:
	// then it may write everywhere.
	Self int
	// Owner returns the uid of the owner of a path. ok is false if it is not known.
	Owner func(path string) (uid int, ok bool)
	// Server returns the effective uid of the running server of this configuration, and its
	// process. Nil, or an empty process: it is not known.
	Server func() (uid int, process string)
}

// CurrentUser returns the user of this process.
func CurrentUser() Users { return Users{Self: os.Geteuid(), Owner: ownerOf} }

// Foreign is a storage of another user. Files of this user there would lock the server out.
type Foreign struct {
	dir         string
	why         string // who has to own what is in the storage
	self, owner int
	running     bool // the owner is the user of the running server
}

// runAs returns the beginning of a command that runs another one as the owner.
func (f *Foreign) runAs() string {
	if known, err := user.LookupId(strconv.Itoa(f.owner)); err == nil {
		return "sudo -u " + known.Username
	}
	return "sudo -u '#" + strconv.Itoa(f.owner) + "'"
}

// Refusal returns the error of a command that must not write to the storage, or nil if it may. arguments
// are those of the command, such as "login orders". A server that runs as root can use every file.
func (f *Foreign) Refusal(arguments string) error {
	if f == nil || f.owner == 0 {
		return nil
	}
	other := fmt.Sprintf("; if the server runs as %s, give it the storage: chown -R %d %s", name(f.self), f.self, f.dir)
	if f.running {
		other = ""
	}
	return fmt.Errorf("%s, and this command runs as %s: that user could not use the files that it would leave there, "+
		"so nothing was done; run it as that user and with the environment of the server: %s caddy authinject %s%s",
		f.why, name(f.self), f.runAs(), arguments, other)
}

// Foreign returns why this user must not write to a storage in a directory, or nil if it may. If
// the running server is known, the storage must belong to the server's user. Otherwise it must
// belong to the owner of the directory, or of the nearest parent that exists.
func (u Users) Foreign(dir string) *Foreign {
	if u.Self < 0 || dir == "" {
		return nil
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if u.Server != nil {
		switch uid, process := u.Server(); {
		case process == "":
		case uid == u.Self:
			return nil // the server can use what doctor writes
		default:
			why := fmt.Sprintf("the running server (process %s) of the storage %s runs as %s", process, dir, name(uid))
			return &Foreign{dir, why, u.Self, uid, true}
		}
	}
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err != nil && at != filepath.Dir(at):
			continue
		case err != nil:
			return nil
		}
		uid, ok := u.Owner(at)
		const everyone = 0o002
		switch system := at != dir && (uid == 0 || info.Mode()&everyone != 0); {
		case !ok, uid == u.Self, system:
			return nil // a system directory such as /var/lib or /tmp does not say whose storage will be in it
		case at != dir:
			return &Foreign{dir, fmt.Sprintf("the storage %s does not exist yet, its parent %s belongs to %s", dir,
				at, name(uid)), u.Self, uid, false}
		}
		return &Foreign{dir, fmt.Sprintf("the storage %s belongs to %s", dir, name(uid)), u.Self, uid, false}
	}
}

// mixed looks for a path of a storage that belongs to the wrong user. The right user is the running
// server's user, if that is known, or else the owner of the directory. The path is the directory
// itself or an entry of this module in it. ok is false if all paths belong to the right user. It is
// also false if that user is root, because root can write everywhere.
func (u Users) mixed(dir string) (entry string, has, wants int, ok bool) {
	if u.Self < 0 || dir == "" {
		return "", 0, 0, false
	}
	wants, known := u.Owner(dir)
	if u.Server != nil {
		if uid, process := u.Server(); process != "" {
			wants = uid
		}
	}
	below, _ := filepath.Glob(filepath.Join(dir, "authinject", "*")) // the pattern is not malformed
	entries := append([]string{dir, filepath.Join(dir, "authinject"), filepath.Join(dir, "locks")}, below...)
	for _, entry := range entries {
		if has, exists := u.Owner(entry); known && exists && has != wants && wants != 0 {
			return entry, has, wants, true
		}
	}
	return "", 0, 0, false
}

// name names a user.
func name(uid int) string {
	text := fmt.Sprintf("uid %d", uid)
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		text += " (" + known.Username + ")"
	}
	return text
}

// errForeign is the error of everything that would write to a storage of another user.
var errForeign = errors.New("doctor does not write to the storage of another user")

// readOnly is a storage of another user. It can be read. Nothing is written to it or locked in it,
// so that no step can leave a file there by mistake. It is no [tokensource.Exclusive]: that one
// makes the storage's directory.
type readOnly struct{ in tokensource.Storage }

// Load implements [tokensource.Storage].
func (r readOnly) Load(ctx context.Context, key string) ([]byte, error) { return r.in.Load(ctx, key) }

// List implements [tokensource.Storage].
func (r readOnly) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	return r.in.List(ctx, prefix, recursive)
}

// Store implements [tokensource.Storage].
func (readOnly) Store(context.Context, string, []byte) error { return errForeign }

// Delete implements [tokensource.Storage].
func (readOnly) Delete(context.Context, string) error { return errForeign }

// Lock implements [tokensource.Storage].
func (readOnly) Lock(context.Context, string) error { return errForeign }

// Unlock implements [tokensource.Storage].
func (readOnly) Unlock(context.Context, string) error { return errForeign }

// owned reports a storage of another user, and entries that another user left in the storage. It
// returns false if doctor must not write to the storage.
func (x *exam) owned() bool {
	if entry, has, wants, ok := x.Users.mixed(x.StorageDir); ok {
		x.warn("storage", fmt.Sprintf("%s belongs to %s; the server, as %s, may not be able to write there", entry,
			name(has), name(wants)),
			fmt.Sprintf("if its permissions do not allow that, give it to that user: chown -R %d %s", wants, entry))
	}
	if x.Foreign == nil {
		return true
	}
	x.fail("storage", fmt.Sprintf("%s, and doctor runs as %s; so doctor does not write there", x.Foreign.why,
		name(x.Foreign.self)),
		fmt.Sprintf(
			"run doctor as that user and with the environment of the server, for example %s caddy authinject doctor …",
			x.Foreign.runAs()))
	return false
}

// whyNoStorage says why a step that needs the storage was left out.
func (x *exam) whyNoStorage() string {
	return cmp.Or(map[bool]string{true: "doctor must not write to the storage"}[x.Foreign != nil],
		"the storage does not work") + ", so a new refresh token could be lost"
}
