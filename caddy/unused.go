package caddy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	// unusedSource is the problem of a source that no route uses. In reverse_proxy, a second line
	// transport replaces transport authinject, and Caddy reports no error.
	unusedSource = "unused_source"
	// validated is the cause with which [caddy.Validate] ends a configuration that is valid.
	validated = "validation complete"
)

// warnOfUnused logs the sources that no route, page or ready handler uses, and notes them for the
// status. It needs all routes, so it is called after all modules are provisioned.
func (a *App) warnOfUnused() {
	unused := slices.DeleteFunc(slices.Sorted(maps.Keys(a.pooled)), func(name string) bool {
		return a.routes.uses(name, a.pooled[name].source.Interactive())
	})
	a.unused.Store(&unused)
	for _, name := range unused {
		a.logger.Warn("no route uses this source, so no request gets its token", zap.String("source", name),
			zap.String("problem", unusedSource), zap.String("remedy", tokensource.RemedyFor(unusedSource)))
	}
}

// warnIfValidated calls warnOfUnused if [caddy.Validate] found the configuration valid: such a
// configuration is not started.
func (a *App) warnIfValidated() {
	if cause := context.Cause(a.ctx); cause != nil && cause.Error() == validated {
		a.warnOfUnused()
	}
}

// unusedNames returns the names of the sources that no route uses.
func (a *App) unusedNames() []string {
	if a.unused == nil || a.unused.Load() == nil {
		return nil
	}
	return *a.unused.Load()
}

// unusedSources returns the problems of the named sources that no route uses.
func (a *App) unusedSources(names ...string) (found []problemStatus) {
	unused := a.unusedNames()
	for _, name := range names {
		if slices.Contains(unused, name) {
			remedy := tokensource.RemedyFor(unusedSource)
			text := fmt.Sprintf("token source %q: no route uses this source, so no request gets its token", name)
			text = withRemedy(text, remedy)
			found = append(found, problemStatus{unusedSource, tokensource.ClassOperator, text, remedy})
		}
	}
	return found
}
