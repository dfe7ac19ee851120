#!/usr/bin/env bash
# Removes what `make run` left: the containers and the network of its installation,
# and the data directory with the state of every game. Asks nothing.
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
elif compgen -G "$data/games/*/*" >/dev/null; then
	echo "$data/installation is missing, so the games' containers are not known: remove them and $data by hand" >&2
	exit 1
fi

# Where the database's user cannot reach the data directory, as below /root, the
# database is kept under this name (pkg/postgres/home.go).
directory=$data
[ "${data#/}" != "$data" ] || directory=$PWD/$data
tag=$(printf %s "$directory/postgres" | sha256sum | cut -c 1-8)
rm -rf bin dist "$data" "/var/lib/runtime-manager/postgres-$tag"
