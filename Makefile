SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A tag, or before the first one a version that is lower than any. The linker is
# told, not the go command left to find out: that fails where the clone belongs to
# another user. Symbols are for debuggers: without them the link takes half as long.
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || echo v0.0.0-dev$$(git describe --always --dirty 2>/dev/null | sed s/^/.g/))
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
DATE := $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
BUILD := galaxy.io/runtime-manager/pkg/version
LDFLAGS := -s -w -X $(BUILD).number=$(VERSION) -X $(BUILD).commit=$(COMMIT) -X $(BUILD).date=$(DATE)
TOOL := go tool -modfile=hack/tools.mod
GENERATED := api/v1alpha1/zz_generated.deepcopy.go config/crd/bases config/rbac/role.yaml pkg/apiserver/openapi

# Pure Go: the binary runs on any Linux, and build and tests share what the
# compiler cached. Only the race detector links with C.
export CGO_ENABLED := 0

# What runs concurrently is tested under the race detector. The packages on the
# API server's libraries are not: compiling those a second time takes minutes.
RACE := ./api/... ./cmd/demo-game ./controllers ./pkg/engine/... ./pkg/health ./pkg/journal ./pkg/lobby ./pkg/localhost ./pkg/mirror ./pkg/plan ./pkg/postgres ./pkg/probe ./pkg/streams/... ./pkg/tracing
PLAIN := ./config ./docs ./hack/tour ./pkg/apiserver/... ./pkg/command ./pkg/rest ./pkg/rtctl ./pkg/store ./pkg/version

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: provision build ## Run the manager here with the sample games, until Ctrl-C
	@hack/run.sh

# -count=1: the engine and the database are no part of what the cache compares.
.PHONY: test
test: provision-tests registry image mermaid ## Unit, store and integration tests, on a real Docker engine, PostgreSQL and Redis, and what the pages show
	go vet -tags integration,podman ./...
	CGO_ENABLED=1 go test -count=1 -race -tags integration $(RACE)
	go test -count=1 $(PLAIN)
	go test -count=1 -tags integration -timeout 20m ./pkg/app
	cd hack/telemetry && go test -count=1 .
	@hack/tour.sh

.PHONY: tour
tour: provision-tests build game-image ## Type what the README and the runbook show, and compare
	@hack/tour.sh

.PHONY: kills
kills: provision-tests game-image ## Kill the manager 200 times at random points under people who change games, and under 1,000 jobs
	go test -count=1 -v -tags integration -timeout 30m -run 'TestKilledAtAnyPoint|TestJobsWhileManagersAndRedisAreKilled' ./pkg/app -kills 200 -jobs 1000

.PHONY: test-podman
test-podman: provision-tests registry ## Hold Podman against the engines' suite: what differs is a table in the test
	@hack/podman.sh
	go test -count=1 -tags integration,podman -run '^TestPodman$$' ./pkg/engine/docker

.PHONY: provision
provision:
	@hack/provision.sh

.PHONY: provision-tests
provision-tests:
	@hack/provision.sh tests

.PHONY: mermaid
mermaid: hack/mermaid/node_modules

hack/mermaid/node_modules: hack/mermaid/package-lock.json
	npm ci --prefix hack/mermaid --no-audit --no-fund --loglevel error
	@touch $@

.PHONY: registry
registry:
	@hack/registry.sh

.PHONY: build
build: ## Build the manager and rtctl into bin/, the latter as kubectl's plugin, too
	go build -buildvcs=false -ldflags "$(LDFLAGS)" -o bin/ ./cmd/runtime-manager ./cmd/rtctl
	ln -sf rtctl bin/kubectl-galaxy
	ln -sf rtctl bin/kubectl_complete-galaxy

.PHONY: image
image: build game-image ## Build the manager into an image, and the reference game, in two versions
	tar -c Dockerfile -C bin runtime-manager | docker build -q -t galaxy/runtime-manager:$(VERSION) -t galaxy/runtime-manager:latest -

.PHONY: game-image
game-image:
	@hack/image.sh 1.0.0 1.0.1

# PLATFORMS narrows it to some, such as linux/amd64.
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64
.PHONY: release
release: ## Pack archives, bills of materials and their sums into dist/
	@VERSION='$(VERSION)' LDFLAGS='$(LDFLAGS)' PLATFORMS='$(PLATFORMS)' hack/release.sh

.PHONY: check-release
check-release: ## Pack this platform's release twice, compare, and try what is in it
	@$(MAKE) --no-print-directory release PLATFORMS=$(shell go env GOOS)/$(shell go env GOARCH)
	@mkdir -p bin && mv dist/SHA256SUMS bin/first-release
	@$(MAKE) --no-print-directory release PLATFORMS=$(shell go env GOOS)/$(shell go env GOARCH)
	diff bin/first-release dist/SHA256SUMS
	go test -count=1 -tags release ./hack/release

.PHONY: generate
generate: ## Generate deep copies, the CRD, the role and the OpenAPI definitions
	$(TOOL) controller-gen object paths=./api/...
	$(TOOL) controller-gen crd paths=./api/... output:crd:dir=config/crd/bases
	$(TOOL) controller-gen rbac:roleName=runtime-manager paths=./controllers/... output:rbac:dir=config/rbac
	go generate ./pkg/apiserver/...

.PHONY: verify
verify: generate ## Fail if generated files or a module's requirements are not current
	go mod tidy
	cd hack/bench && go mod tidy
	cd hack/telemetry && go mod tidy
	git diff --exit-code -- $(GENERATED) '*go.mod' '*go.sum'

.PHONY: lint
lint: ## Run the linters
	$(TOOL) golangci-lint run --build-tags integration,podman ./...
	cd hack/bench && go vet .
	cd hack/telemetry && go vet .

.PHONY: bench
bench: bench-engine bench-store ## Measure starts and restarts against the engine's own, scale, and the store against kine

.PHONY: bench-engine
bench-engine: provision-tests game-image
	go test -run '^$$' -bench . ./pkg/plan
	go test -run '^$$' -bench . -benchtime 1x ./controllers ./pkg/streams
	go test -tags integration -run '^$$' -bench . -benchtime 1x -timeout 60m ./pkg/app

# A module of its own, so that the product does not depend on what it is measured
# against. BENCH takes flags: -level 2 -rounds 1, for instance; -h lists them.
.PHONY: bench-store
bench-store: provision-tests
	cd hack/bench && go run . $(BENCH)

.PHONY: clean
clean: ## Remove what make run left: containers, network, bin and .run with all game state
	@hack/clean.sh
