#!/bin/sh
# Builds the sidecar, delivers the documentation's example event with it and
# shows what the receiver got and what the history says. Needs nothing but Go.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
bin=$root/.cache/quickstart
mkdir -p "$bin"

"$root/xcaddy.sh" version >/dev/null
go -C "$root" build -o "$bin/" ./examples/quickstart/receiver ./examples/quickstart/demo

# exec, so that a signal reaches the program that ends the others.
exec "$bin/demo" -caddy "$root/caddy" -receiver "$bin/receiver" -dir "$root/examples/quickstart"
