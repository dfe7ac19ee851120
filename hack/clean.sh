#!/usr/bin/env bash
# Removes what `make run` left: the sample installation's containers and network,
# and, only when told "all", the data directory with every game's state.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${RTM_DATA_DIR:-.run}
if [ -f "$data/kubeconfig" ] && PATH=$PATH:$PWD/bin kubectl --kubeconfig "$data/kubeconfig" get --raw /livez >/dev/null 2>&1; then
	echo "the manager still runs: stop it first" >&2
	exit 1
fi
if [ -f "$data/installation" ]; then
	id=$(cat "$data/installation")
	docker ps -aq --filter "label=runtime.galaxy.io/installation=$id" | xargs -r docker rm -f
	docker network ls -q --filter "label=runtime.galaxy.io/installation=$id" | xargs -r docker network rm
fi
rm -rf bin "$data"
