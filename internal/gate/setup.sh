#!/usr/bin/env bash
# setup.sh finds the programs that "make test" needs, and with the argument "check" those that
# "make check" needs too. On Debian, as root or with a sudo that asks for no password, it installs
# what is missing. Everywhere else it prints one line for each missing program and fails.
#
# It compiles nothing.
set -euo pipefail
PATH="$PATH:/usr/local/sbin:/usr/sbin"

# has reports whether one of the commands exists.
has() {
	local name
	for name in "$@"; do
		if command -v "$name" >/dev/null; then return 0; fi
	done
	return 1
}

has_chromium() {
	if [ -n "${AUTHINJECT_CHROMIUM:-}" ]; then
		[ -x "$AUTHINJECT_CHROMIUM" ]
		return
	fi
	has chromium chromium-browser google-chrome || [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]
}

# look fills two lists: lines says what is missing and how to get it, packages is what Debian calls it.
look() {
	lines=()
	packages=()
	if ! has go; then
		lines+=("Go is missing: install the version that go.mod names, or a newer one, from https://go.dev/dl/")
	elif ! why=$(go list -m 2>&1 >/dev/null); then
		lines+=("Go does not accept this module (${why//$'\n'/ }): install a newer version from https://go.dev/dl/")
	fi
	if ! has_chromium; then
		if [ -n "${AUTHINJECT_CHROMIUM:-}" ]; then
			lines+=("AUTHINJECT_CHROMIUM names $AUTHINJECT_CHROMIUM, which is no program: correct it, or unset it")
		else
			lines+=("Chromium is missing: apt-get install chromium; dnf install chromium; brew install --cask google-chrome; or set AUTHINJECT_CHROMIUM to the path of one")
			packages+=(chromium)
		fi
	fi
	if ! has nginx; then
		lines+=("nginx is missing: apt-get install nginx-light; dnf install nginx; brew install nginx")
		packages+=(nginx-light)
	fi
	if ! has varnishd; then
		lines+=("Varnish is missing: apt-get install varnish; dnf install varnish; brew install varnish")
		packages+=(varnish)
	fi
	if ! has redis-server; then
		lines+=("Redis is missing: apt-get install redis-server; dnf install redis; brew install redis")
		packages+=(redis-server)
	fi
	if ! has prometheus || ! has promtool; then
		lines+=("Prometheus is missing: apt-get install prometheus; dnf install golang-github-prometheus; brew install prometheus")
		packages+=(prometheus)
	fi
	if [ "${1:-}" = check ] && ! has "${CC:-gcc}" gcc clang; then
		lines+=("A C compiler is missing, which the race detector needs: apt-get install gcc libc6-dev; dnf install gcc; xcode-select --install")
		packages+=(gcc libc6-dev)
	fi
}

look "$@"
if [ ${#packages[@]} -gt 0 ] && has apt-get; then
	root=()
	if [ "$(id -u)" != 0 ]; then root=(sudo -n); fi
	if [ ${#root[@]} -eq 0 ] || { has sudo && sudo -n true 2>/dev/null; }; then
		echo "Set-up: installing ${packages[*]} with apt-get."
		export DEBIAN_FRONTEND=noninteractive
		if { "${root[@]}" apt-get update -qq &&
			"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >/dev/null; then
			look "$@"
		else
			echo "Set-up: apt-get failed; its message is above." >&2
		fi
	fi
fi
if [ ${#lines[@]} -gt 0 ]; then
	printf '%s\n' "${lines[@]}" >&2
	exit 1
fi
echo "Set-up: everything that is needed is installed."
