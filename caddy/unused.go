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

// isUsed reports whether a handler or a transport uses a source. A handler authinject_ready that names
// no source does not count, because it reports all sources, used or not. isUsed needs all routes, so
// it is called after all modules are provisioned.
func (a *App) isUsed(source string) bool {
	_, used := a.routes.perAccount[source]
	return used || slices.Contains(a.routes.shown, source) ||
		a.routes.allShown && a.pooled[source].source.Interactive()
}

// warnOfUnused logs the sources that no route, page or ready handler uses.
func (a *App) warnOfUnused() {
	for _, name := range slices.Sorted(maps.Keys(a.pooled)) {
		if !a.isUsed(name) {
			a.logger.Warn("no route uses this source, so no request gets its token", zap.String("source", name),
				zap.String("problem", unusedSource), zap.String("remedy", tokensource.RemedyFor(unusedSource)))
		}
	}
}

// warnIfValidated calls warnOfUnused if [caddy.Validate] found the configuration valid: such a
// configuration is not started.
func (a *App) warnIfValidated() {
	if cause := context.Cause(a.ctx); cause != nil && cause.Error() == validated {
		a.warnOfUnused()
	}
}

// unusedProblems returns the problems of the named sources that no route uses.
func (a *App) unusedProblems(names ...string) (found []problemStatus) {
	remedy := tokensource.RemedyFor(unusedSource)
	for _, name := range names {
		if a.isUsed(name) {
			continue
		}
		text := fmt.Sprintf("token source %q: no route uses this source, so no request gets its token", name)
		found = append(found, problemStatus{unusedSource, tokensource.ClassOperator, withRemedy(text, remedy), remedy})
	}
	return found
}
