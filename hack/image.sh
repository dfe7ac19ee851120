#!/usr/bin/env bash
# Builds the reference game into images, from nothing but its own binary: no
# registry, no base image and no builder is needed. The version inside is the tag.
# Each version has a twin with a HEALTHCHECK.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An import never gives the same image twice, so a digest of what it is made of is
# kept on it: what did not change keeps its image, and games that run it see no
# drift. The game is made of the standard library and one directory.
label=galaxy.io/source
source=$(cat cmd/demo-game/*.go hack/image.sh <(go version) | sha256sum | cut -d ' ' -f 1)

is_current() { [ "$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$1" 2>/dev/null)" = "$source" ]; }

make_image() { # image, further instructions
	local image=$1
	shift
	tar -C "$work" --owner=0 --group=0 -c demo-game |
		docker import --change 'ENTRYPOINT ["/demo-game"]' --change 'EXPOSE 8080' --change "LABEL $label=$source" "$@" - "$image" >/dev/null
	echo "built $image"
}

for tag in "$@"; do
	game=galaxy/demo-game:$tag checked=galaxy/demo-game-healthcheck:$tag
	if is_current "$game" && is_current "$checked"; then
		echo "$game is current"
		continue
	fi
	CGO_ENABLED=0 go build -buildvcs=false -ldflags "-s -w -X main.version=$tag" -o "$work/demo-game" ./cmd/demo-game
	make_image "$game"
	make_image "$checked" --change 'HEALTHCHECK --interval=1s --timeout=1s --retries=2 CMD ["/demo-game", "check"]'
done
