#!/usr/bin/env bash
# Makes sure that an image registry is here for the tests to run: the program
# docker-registry, out of Debian's package of that name. It is unpacked into bin/
# and not installed, since the package would start it as a service.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v docker-registry >/dev/null && exit
[ -x bin/docker-registry ] && exit
if ! command -v apt-get >/dev/null; then
	echo "registry: put a program docker-registry on the path: it is 'registry' of github.com/distribution/distribution" >&2
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod a+rwx "$work" # apt downloads as a user of its own
download() { (cd "$work" && apt-get download -qq docker-registry >/dev/null); }
if ! download 2>/dev/null; then
	[ "$(id -u)" -ne 0 ] || apt-get update -qq || echo "registry: not every package list could be updated" >&2
	download
fi
mkdir -p bin
dpkg-deb --fsys-tarfile "$work"/docker-registry_*.deb | tar -C "$work" -x ./usr/bin/docker-registry
mv "$work/usr/bin/docker-registry" bin/
