#!/usr/bin/env bash
# Makes sure that what Runtime Manager needs is on this machine: a Docker engine
# that answers, PostgreSQL's programs, kubectl; with "tests", what its tests need,
# too: Redis's server, a C compiler for the race detector, Node.js for the diagrams
# and curl and jq for the examples in the documentation, systemd's word on its unit.
# On Debian, as root, it installs what is missing; elsewhere it says what to install.
# It may be run again.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "provision: $*" >&2; }
fail() {
	say "$@"
	exit 1
}

# An old Go that cannot fetch its successor does not read our go.mod either.
need_go() {
	local wanted
	wanted=$(sed -n 's/^go //p' go.mod)
	command -v go >/dev/null || fail "Go is missing: install $wanted or later from https://go.dev/dl"
	go list -m >/dev/null || fail "$(command -v go) cannot build this module: install Go $wanted or later from https://go.dev/dl"
}

have_postgres() {
	command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

install_missing() {
	local packages=()
	if ! command -v docker >/dev/null || ! { docker info >/dev/null 2>&1 || command -v dockerd >/dev/null; }; then
		packages+=(docker.io iptables)
	fi
	have_postgres || packages+=(postgresql)
	if [ "${1:-}" = tests ]; then
		command -v redis-server >/dev/null || packages+=(redis-server)
		command -v "$(go env CC)" >/dev/null || packages+=(gcc libc6-dev)
		command -v npm >/dev/null || packages+=(nodejs npm)
		command -v curl >/dev/null || packages+=(curl)
		command -v jq >/dev/null || packages+=(jq)
		command -v systemd-analyze >/dev/null || packages+=(systemd) # alone it becomes no init
	fi
	[ ${#packages[@]} -eq 0 ] && return
	if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
		fail "install these first (Debian's names): ${packages[*]}; or run this as root on Debian"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq || say "not every package list could be updated"
	# From Debian 13 on the client is a package of its own.
	if ! command -v docker >/dev/null && apt-cache show docker-cli >/dev/null 2>&1; then
		packages+=(docker-cli)
	fi
	say "installing ${packages[*]}"
	without_redis_service apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}" >/dev/null
}

# without_redis_service runs an installation that starts no Redis: tests start
# their own. One that was here before is left alone.
without_redis_service() {
	if command -v redis-server >/dev/null || [ ! -d /run/systemd/system ]; then
		"$@"
		return
	fi
	systemctl mask --runtime --quiet redis-server
	local status=0
	"$@" || status=$?
	systemctl unmask --runtime --quiet redis-server
	[ "$status" -eq 0 ] || return "$status"
	systemctl disable --quiet redis-server
}

# start_engine starts a daemon that outlives us, where no service manager does.
start_engine() {
	docker info >/dev/null 2>&1 && return
	[ "$(id -u)" -eq 0 ] || fail "the Docker engine does not answer: start it, or let this user reach its socket (group docker)"
	local log=/var/log/dockerd.log
	if [ -d /run/systemd/system ]; then
		systemctl start docker || fail "systemd does not start the Docker engine: journalctl -u docker says why"
	else
		say "starting dockerd, its log is $log"
		setsid nohup dockerd >>"$log" 2>&1 </dev/null &
	fi
	for _ in $(seq 100); do
		docker info >/dev/null 2>&1 && return
		sleep 0.3
	done
	fail "the Docker engine does not answer: $(tail -n 3 "$log" 2>/dev/null)"
}

# need_kubectl builds the stock kubectl from its library where there is none.
need_kubectl() {
	command -v kubectl >/dev/null && return
	[ -x bin/kubectl ] && return
	local library
	library=$(go list -m -f '{{.Version}}' k8s.io/kubectl) # v0.37.2 is the library of v1.37.2
	say "building kubectl v1${library#v0}"
	go build -ldflags "-X k8s.io/component-base/version.gitVersion=v1${library#v0}" -o bin/kubectl ./hack/kubectl
}

need_go
install_missing "$@"
start_engine
need_kubectl
