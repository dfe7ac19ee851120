#!/usr/bin/env bash
# Runs the manager on this machine with the sample games, until Ctrl-C. All that
# it writes is in .run.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${RTM_DATA_DIR:-.run}
kubeconfig=$data/kubeconfig
PATH=$PATH:$PWD/bin
k() { kubectl --kubeconfig "$kubeconfig" "$@"; }

docker image inspect galaxy/demo-game:1.0.0 galaxy/demo-game:1.0.1 >/dev/null 2>&1 || make --no-print-directory image

bin/runtime-manager serve --data-dir "$data" &
manager=$!
trap 'kill -TERM "$manager" 2>/dev/null || true' INT TERM

ready() { [ -f "$kubeconfig" ] && k get --raw /readyz >/dev/null 2>&1; }
until ready; do
	kill -0 "$manager" 2>/dev/null || { wait "$manager"; exit $?; }
	sleep 0.2
done

k get namespace default -o 'jsonpath={.metadata.uid}' >"$data/installation" # for make clean

k get gr -w &
table=$!
k apply -k config/samples >/dev/null
k wait --for=condition=Ready gr/chess gr/checkers --timeout=120s >/dev/null || true
kill "$table"
cat <<END

The games run. In another terminal:

    kubectl --kubeconfig $PWD/${kubeconfig#"$PWD"/} get gr -w

Ctrl-C stops the manager; the games keep running.
END

# The first wait ends with the signal, the second one with the manager.
wait "$manager" || true
wait "$manager" 2>/dev/null || status=$?
echo "The manager stopped. The games keep running: 'make clean' removes them."
exit "${status:-0}"
