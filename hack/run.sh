#!/usr/bin/env bash
# Runs the manager on this machine with the sample games, until Ctrl-C. All that
# it writes is in .run.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${RTM_DATA_DIR:-.run}
kubeconfig=$data/kubeconfig
rtctl() { bin/rtctl --kubeconfig "$kubeconfig" "$@"; }

docker image inspect galaxy/demo-game:1.0.0 galaxy/demo-game:1.0.1 >/dev/null 2>&1 || make --no-print-directory game-image

# Ctrl-C reaches every process of the terminal's group. In a group of its own the
# manager gets the one signal that we pass on: a second one would kill it.
set -m
bin/runtime-manager serve --data-dir "$data" &
manager=$!
set +m
told=
trap 'told=yes; kill -TERM "$manager" 2>/dev/null || true' INT TERM

# finish waits for the manager and ends as it did, or with $1 where it ended well.
# A signal cuts a wait short, so it waits for as long as there is a manager.
finish() {
	local status=${1:-0}
	while kill -0 "$manager" 2>/dev/null; do wait "$manager" || true; done
	wait "$manager" || status=$?
	[ -z "$told" ] || echo "The manager stopped. The games keep running: 'make clean' removes them."
	exit "$status"
}

ready() { [ -f "$kubeconfig" ] && rtctl get --raw /readyz >/dev/null 2>&1; }
until ready; do
	kill -0 "$manager" 2>/dev/null || finish
	sleep 0.1 || true # a Ctrl-C ends it too
done

# games declares the samples. What becomes of them is in the log meanwhile.
games() {
	rtctl get namespace default -o 'jsonpath={.metadata.uid}' >"$data/installation" || return # for make clean
	rtctl apply -k config/samples >/dev/null || return
	rtctl wait --for=condition=Ready gr/chess gr/checkers --timeout=120s >/dev/null || [ -n "$told" ] ||
		echo "Not all games are Ready: 'rtctl describe gr' says why." >&2
}
if ! games && [ -z "$told" ]; then
	kill -TERM "$manager" 2>/dev/null || true
	finish 1
fi
[ -z "$told" ] || finish
echo
rtctl get gr || true
cat <<END

The manager serves the Kubernetes API at $(sed -n 's/^ *server: //p' "$kubeconfig"). In another terminal, here:

    export KUBECONFIG=$(realpath "$kubeconfig") PATH=\$PATH:\$PWD/bin
    rtctl status                 how the manager is
    kubectl get gr -w            the games, as they change
    rtctl restart chess          a new container, with the same state
    rtctl logs -f chess          what a game writes

Ctrl-C stops the manager; the games keep running.
END
finish
