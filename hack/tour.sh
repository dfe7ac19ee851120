#!/usr/bin/env bash
# Types what the README and the runbook show, in a place of its own with a fresh data
# directory, and compares what comes of it: hack/tour says how. It needs the ports of
# the defaults.
set -euo pipefail
cd "$(dirname "$0")/.."

place=$(mktemp -d)
chmod 755 "$place" # PostgreSQL's user passes through
go build -buildvcs=false -o "$place/tour" ./hack/tour
repository=$PWD
for part in bin config docs hack Makefile README.md; do ln -s "$repository/$part" "$place/$part"; done
export PATH=$PATH:$PWD/bin
unset KUBECONFIG
cd "$place"

manager=
# clean removes what a page made. Its games' containers are known by their states.
clean() {
	docker ps -a --no-trunc --format '{{.Label "runtime.galaxy.io/installation"}} {{.Mounts}}' |
		sed -n "s|^\([^ ]*\) .*$place/.*|\1|p" | head -n 1 >.run/installation
	[ -s .run/installation ] || rm .run/installation
	hack/clean.sh >/dev/null
	ln -sfn "$repository/bin" bin # which goes with the rest
}

leave() {
	local status=$?
	[ "$status" -eq 0 ] || tail -n 40 "$place"/*.log >&2 || true
	if [ -n "$manager" ]; then
		kill -TERM "$manager" 2>/dev/null || true
		wait "$manager" || true
	fi
	clean || true
	rm -rf "$place"
}
trap leave EXIT

hack/run.sh >run.log 2>&1 &
manager=$!
until grep -q 'In another terminal' run.log; do
	kill -0 "$manager" 2>/dev/null || exit 1
	sleep 0.2
done
./tour README.md
kill -TERM "$manager"
wait "$manager"
manager=
clean

./tour docs/runbook.md
