#!/bin/sh
# Builds and runs Caddy with the webhooks module of this checkout. It needs
# nothing but Go.
#
#   ./xcaddy.sh build [<caddy version>] [--output FILE] [--with MODULE[@VERSION][=PATH] ...]
#   ./xcaddy.sh run --config Caddyfile        any command of Caddy: run, validate, adapt, fmt, ...
#
# "build" takes the options of xcaddy and always builds. Every other command is
# handed to ./caddy in the checkout, which is built first when it is missing or
# older than the sources; that build has no other plugins. XCADDY_* and
# CADDY_VERSION work as they do for xcaddy.
set -eu

caddy_version=v2.11.9
module=github.com/promptreports/caddy-webhooks
root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
go=${XCADDY_WHICH_GO:-go}

fail() {
	printf 'xcaddy.sh: %s\n' "$*" >&2
	exit 1
}

# prepend ITEM LIST puts an item before a comma-separated list.
prepend() {
	if [ -n "$2" ]; then printf '%s,%s' "$1" "$2"; else printf '%s' "$1"; fi
}

# module_version names the checkout, as a tag or as a pseudo-version, so that
# the version stands in the binary's build information.
module_version() {
	if [ -e "$root/.git" ] && command -v git >/dev/null 2>&1; then
		if tag=$(git -C "$root" describe --tags --exact-match --match 'v[0-9]*.[0-9]*.[0-9]*' 2>/dev/null); then
			case $tag in
			v0.* | v1.*)
				printf '%s' "$tag"
				return
				;;
			esac
		fi
		if pseudo=$(TZ=UTC0 git -C "$root" log -1 --abbrev=12 \
			--date=format-local:%Y%m%d%H%M%S --format=v0.0.0-%cd-%h 2>/dev/null); then
			# An abbreviation may come out longer; a pseudo-version has exactly 12.
			printf '%s' "$pseudo" | cut -c1-34
			return
		fi
	fi
	printf 'v0.0.0-00010101000000-000000000000'
}

# xcaddy_tool builds the pinned xcaddy once and prints where it is. It is a
# tool of a module file of its own, because "go run PACKAGE@VERSION" asks the
# network each time and would put xcaddy's dependencies beside ours.
xcaddy_tool() {
	tool=$root/.cache/xcaddy
	if [ ! -x "$tool" ] || [ -n "$(find "$root/.ci/tools.mod" -newer "$tool")" ]; then
		mkdir -p "$root/.cache"
		env -u GOOS -u GOARCH -u GOARM GOWORK=off CGO_ENABLED=0 "$go" -C "$root" build \
			-mod=readonly -modfile=.ci/tools.mod -trimpath -o "$tool.new" \
			github.com/caddyserver/xcaddy/cmd/xcaddy >&2
		touch -r "$root/.ci/tools.mod" "$tool.new"
		mv -f "$tool.new" "$tool"
	fi
	printf '%s' "$tool"
}

build() {
	command -v "$go" >/dev/null 2>&1 || fail "Go is needed to build Caddy, and there is no \"$go\" here: see https://go.dev/dl/"
	tool=$(xcaddy_tool)

	# The checkout replaces the published module, so nothing may ask for the
	# latter: not the module proxy (GOPRIVATE), not its repository (GOVCS).
	GOPRIVATE=$(prepend "$module" "$("$go" env GOPRIVATE)")
	GOVCS=$(prepend "$module:off" "$("$go" env GOVCS)")
	# A workspace of the caller, or its -mod flag, is none of this build's.
	GOWORK=off
	CADDY_VERSION=${CADDY_VERSION:-$caddy_version}
	export GOPRIVATE GOVCS GOWORK CADDY_VERSION

	"$tool" build --with "$module@$(module_version)=$root" "$@"
}

# build_default replaces ./caddy at one stroke, so that a build that fails
# leaves the old one and a running one is not disturbed. Its time is that of
# the start of the build: what was edited meanwhile counts as newer.
build_default() {
	new=$root/.cache/caddy.$$
	mkdir -p "$root/.cache"
	trap 'rm -f "$new" "$new.start"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	: >"$new.start"
	build --output "$new" "$@"
	if [ -e "$new" ]; then # XCADDY_SKIP_BUILD makes none
		touch -r "$new.start" "$new"
		mv -f "$new" "$root/caddy"
	fi
	rm -f "$new.start"
	trap - EXIT INT TERM
}

# stale tells whether ./caddy is missing or older than what it is made of.
# Folders count too: theirs is the time of the last file added or removed.
stale() {
	[ -x "$root/caddy" ] || return 0
	[ -n "$(find "$root/webhooks.go" "$root/go.mod" "$root/go.sum" "$root/xcaddy.sh" \
		"$root/caddyfile" "$root/module" "$root/storage" \
		\( -name testdata -o -path "$root/module/internal/bench" \) -prune -o \
		! -name '*_test.go' -newer "$root/caddy" -print)" ]
}

case ${1-} in
'' | -h | --help)
	sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0"
	;;
build)
	shift
	output=
	for arg in "$@"; do
		case $arg in --output | --output=*) output=given ;; esac
	done
	if [ -n "$output" ]; then build "$@"; else build_default "$@"; fi
	;;
*)
	if stale; then
		echo "building $root/caddy …" >&2
		if ! log=$(build_default 2>&1); then
			printf '%s\n' "$log" >&2
			fail "building Caddy failed"
		fi
	fi
	exec "$root/caddy" "$@"
	;;
esac
