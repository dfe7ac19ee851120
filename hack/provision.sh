#!/usr/bin/env bash
# Makes sure that what Runtime Manager needs is on this machine: a Docker engine
# that answers, PostgreSQL's programs, kubectl. On Debian, as root, it installs
# what is missing; elsewhere it says what to install. It may be run again.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "provision: $*" >&2; }
fail() {
	say "$@"
	exit 1
}

need_go() {
	command -v go >/dev/null ||
		fail "Go is missing: install the version that go.mod names ($(sed -n 's/^go //p' go.mod) or later) from https://go.dev/dl"
	go version >/dev/null || fail "this Go cannot build the module: install $(sed -n 's/^go //p' go.mod) or later"
}

have_postgres() {
	command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

install_missing() {
	local packages=()
	command -v dockerd >/dev/null || docker info >/dev/null 2>&1 || packages+=(docker.io iptables)
	command -v docker >/dev/null || packages+=(docker.io)
	have_postgres || packages+=(postgresql)
	[ ${#packages[@]} -eq 0 ] && return
	if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
		fail "install these first (Debian's names): ${packages[*]}; or run this as root on Debian"
	fi
	say "installing ${packages[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

# start_engine starts a daemon that outlives us, where no service manager does.
start_engine() {
	docker info >/dev/null 2>&1 && return
	[ "$(id -u)" -eq 0 ] || fail "the Docker engine does not answer: start it, or let this user reach its socket (group docker)"
	if [ -d /run/systemd/system ]; then
		systemctl start docker
	else
		say "starting dockerd, its log is /var/log/dockerd.log"
		setsid nohup dockerd >>/var/log/dockerd.log 2>&1 </dev/null &
	fi
	for _ in $(seq 100); do
		docker info >/dev/null 2>&1 && return
		sleep 0.3
	done
	fail "the Docker engine does not come up: $(tail -n 3 /var/log/dockerd.log 2>/dev/null)"
}

# need_kubectl builds the stock kubectl from its library where there is none.
need_kubectl() {
	command -v kubectl >/dev/null && return
	[ -x bin/kubectl ] && return
	say "building kubectl"
	go build -trimpath -o bin/kubectl ./hack/kubectl
}

need_go
install_missing
start_engine
need_kubectl
