#!/usr/bin/env bash
# Builds the reference game into images, from nothing but its own binary: no
# registry, no base image and no builder is needed. The version inside is the tag.
# Each version has a twin with a HEALTHCHECK.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An import never gives the same image twice, so the binary's digest is kept on
# it: what did not change keeps its image, and games that run it see no drift.
label=galaxy.io/binary
make_image() { # image, further instructions
	image=$1
	shift
	if [ "$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null)" = "$digest" ]; then
		echo "$image is current"
		return
	fi
	tar -C "$work" --owner=0 --group=0 -c demo-game |
		docker import --change 'ENTRYPOINT ["/demo-game"]' --change 'EXPOSE 8080' --change "LABEL $label=$digest" "$@" - "$image" >/dev/null
	echo "built $image"
}

for tag in "$@"; do
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$tag" -o "$work/demo-game" ./cmd/demo-game
	digest=$(sha256sum <"$work/demo-game" | cut -d ' ' -f 1)
	make_image "galaxy/demo-game:$tag"
	make_image "galaxy/demo-game-healthcheck:$tag" --change 'HEALTHCHECK --interval=1s --timeout=1s --retries=2 CMD ["/demo-game", "check"]'
done
