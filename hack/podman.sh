#!/usr/bin/env bash
# Makes sure that Podman is here for make test-podman, with what resolves the
# names of its containers. A Docker engine beside it is not touched.
set -euo pipefail

command -v podman >/dev/null && [ -x /usr/lib/podman/netavark ] && [ -x /usr/lib/podman/aardvark-dns ] && exit
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
	echo "podman: install Podman with netavark and aardvark-dns first, or run this as root on Debian" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo "podman: not every package list could be updated" >&2
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 podman netavark aardvark-dns >/dev/null
