#!/usr/bin/env bash
# Packs a release into dist/: an archive a platform, a bill of materials a program,
# and the sums of all. The manager is for Linux; rtctl is for whoever asks it, too.
# The same commit and Go release give the same bytes, wherever they are built.
# VERSION, LDFLAGS and PLATFORMS come from the Makefile.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
committed=$(git log -1 --format=%ct)
rm -rf dist
mkdir dist

for platform in $PLATFORMS; do
	export GOOS=${platform%/*} GOARCH=${platform#*/}
	name=runtime-manager_${VERSION#v}_${GOOS}_$GOARCH
	programs=(rtctl)
	[ "$GOOS" != linux ] || programs+=(runtime-manager)
	mkdir "$work/$name"
	for program in "${programs[@]}"; do
		echo "building $program for $platform"
		go build -trimpath -buildvcs=false -ldflags "$LDFLAGS" -o "$work/$name/" "./cmd/$program"
		GOOS='' GOARCH='' go tool -modfile=hack/tools.mod cyclonedx-gomod bin -json -noserial -notimestamp -version "$VERSION" \
			-output "dist/${program}_${VERSION#v}_${GOOS}_$GOARCH.cdx.json" "$work/$name/$program$(go env GOEXE)" 2>/dev/null
	done
	# By these names it is a plugin of kubectl, and completes its words there.
	if [ "$GOOS" != windows ]; then
		ln -s rtctl "$work/$name/kubectl-galaxy"
		ln -s rtctl "$work/$name/kubectl_complete-galaxy"
	fi
	git archive HEAD LICENSE README.md CHANGELOG.md SECURITY.md docs config | tar -x -C "$work/$name" --exclude='*.go'
	tar -C "$work" --sort=name --mtime="@$committed" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -c "$name" |
		gzip -9 --no-name >"dist/$name.tar.gz"
done
(cd dist && sha256sum -- * >SHA256SUMS)
ls -l dist
