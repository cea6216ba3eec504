package caddy

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/shell"
	"github.com/authinject/caddy-authinject/tokensource"
)

// loadToWrite is load for a command that writes to the storage of the source only or, if only is
// empty, of all sources. It refuses to write to a storage of another user, because the server could
// not use the files.
func (c *commandConfig) loadToWrite(ctx context.Context, command, only string) (*loadedApp, error) {
	app, err := c.load()
	if err != nil {
		return nil, err
	}
	users := c.users(ctx)
	arguments := joined(" ", command, only, "--config", c.file)
	if c.account != "" {
		arguments += " --account " + shell.Word(c.account)
	}
	for _, name := range slices.Sorted(maps.Keys(app.Sources)) {
		if only != "" && name != only {
			continue
		}
		if err := users.Foreign(directoryOf(app.Sources[name].storage)).Refusal(arguments); err != nil {
			return nil, err
		}
	}
	return app, nil
}

// directoryOf returns the directory of a storage, or an empty text if it is not a directory.
func directoryOf(storage tokensource.Storage) string {
	files, _ := storage.(occupied)
	return files.directory
}

// users returns what is known of the users of this command and of the running server.
func (c *commandConfig) users(ctx context.Context) doctor.Users {
	config := c.survey()
	return knownUsers(doctor.Users{}, c.runningAt(ctx, config), config.listeners())
}

// knownUsers returns known with the fields that it lacks. By default, these are the users of this
// machine and the user of the running server.
func knownUsers(known doctor.Users, running doctor.Server, listeners []doctor.Listener) doctor.Users {
	if known.Owner == nil {
		known = doctor.CurrentUser()
	}
	if known.Server == nil {
		known.Server = sync.OnceValues(func() (uid int, process string) {
			process = running.Process(listeners)
			uid, ok := doctor.UserOf(process)
			if !ok {
				return 0, ""
			}
			return uid, process
		})
	}
	return known
}
