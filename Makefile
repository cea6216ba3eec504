# "make test" runs all tests. "make check" runs everything else that a change must pass.
# CI runs both. Needs Go and a POSIX system with bash. Tools are built from source, at the
# versions below, into ./bin.

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.4.0
XCADDY_VERSION        := v0.4.5

VERSION   ?= $(shell git describe --tags --always --dirty)
PLATFORMS ?= linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64
FUZZTIME  ?= 60s
BENCH     ?= .
SEEDS     ?= 10000

# A pipe fails when its first command does, not only its last.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c

BIN           := $(CURDIR)/bin
GOLANGCI_LINT := $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION)
XCADDY        := $(BIN)/xcaddy-$(XCADDY_VERSION)
GOTALLY       := $(BIN)/gotally
GOVULNCHECK   := $(BIN)/govulncheck-$(GOVULNCHECK_VERSION)
# The binaries that the end-to-end tests run, unless AUTHINJECT_BINARY names another.
CADDY         := $(BIN)/caddy-test
CADDY_RACE    := $(BIN)/caddy-test-race
# go test vets by itself, which costs a look at all of Caddy: "make vet" does it once. A busy
# machine may take longer than the ten minutes that go test allows by itself.
GOTEST        := go test -vet=off -count=1 -timeout 60m -json
GO_WANTED      = $(shell sed -n 's/^go //p' go.mod)
BEGAN         := $(shell date +%s)
TOOK           = $$(( ($$(date +%s) - $(BEGAN) + 59) / 60 ))
# "make test check" counts the tests of both in its last line.
TALLIES        = $(if $(filter test,$(MAKECMDGOALS)),bin/unit.tally bin/e2e.tally) bin/release.tally bin/unit-race.tally bin/e2e-race.tally
CADDY_VERSION  = $(shell go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)

.DEFAULT_GOAL := help
# Each target has the machine for itself, also with make -j: the tools below use all cores.
.NOTPARALLEL:

##@ Start here

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo

.PHONY: run
run: ## Start the demo on loopback: an authorization server, an API, the proxy
	@echo "Building Caddy and the demo with $$(go version | cut -d' ' -f3): a few minutes the first time, later seconds."
	@go build -o bin/caddy ./caddy/cmd/caddy
	@go build -o bin/demo ./examples/demo
	@exec bin/demo -caddy bin/caddy

# The same flags as in "run", so that one uses what the other has compiled.
.PHONY: build
build: ## Build bin/caddy, which has the module in it
	@command -v go >/dev/null || { echo "Go is missing: install go$(GO_WANTED) or newer from https://go.dev/dl/" >&2; exit 1; }
	@echo "Building bin/caddy with $$(go env GOVERSION); go$(GO_WANTED) or newer is needed. The first build takes a few minutes."
	@go build -o bin/caddy ./caddy/cmd/caddy
	@echo "Built: bin/caddy. Try: bin/caddy validate --config examples/sidecar/Caddyfile"

.PHONY: test
test: setup-test caddy unit e2e ## Install what the tests need, then run all of them
	@echo "make test took about $(TOOK) minutes."
	@$(GOTALLY) -sum bin/unit.tally bin/e2e.tally

##@ Release

# A release has a tag. Its files have the time of the commit, so that two builds are the same.
.PHONY: release
release: ## Build the release for six platforms into dist (PLATFORMS=linux/amd64,...: fewer)
	@go run ./internal/release -out dist -version '$(VERSION)' \
		-time "$$(git log -1 --format=%ct)" -platforms '$(PLATFORMS)'

.PHONY: image
image: ## Build the container image with Docker
	docker build --build-arg VERSION='$(VERSION)' -t authinject:'$(VERSION)' .

##@ Gates

.PHONY: check
check: setup-check fmt vet lint cross vuln release-test race ## Run every other gate, about 30 minutes
	@echo "make $(MAKECMDGOALS) took about $(TOOK) minutes."
	@cat bin/vuln.result
	@$(GOTALLY) -sum $(TALLIES)

.PHONY: setup-test setup-check
setup-test:
	@internal/gate/setup.sh
setup-check:
	@internal/gate/setup.sh check

.PHONY: caddy
caddy:
	@echo "Building Caddy with the module: about 3 minutes on two cores the first time, later seconds."
	@go build -ldflags=-w -o $(CADDY) ./caddy/cmd/caddy

.PHONY: unit
unit: $(GOTALLY) ## Run the root module's tests
	@echo "Running the unit tests: about half a minute."
	@$(GOTEST) ./... | $(GOTALLY) -name unit -o bin/unit.tally

.PHONY: e2e
e2e: $(GOTALLY) caddy ## Run the built Caddy between real clients, providers and browsers
	@echo "Running the end-to-end tests: about 4 minutes."
	@cd e2e && AUTHINJECT_BINARY="$${AUTHINJECT_BINARY:-$(CADDY)}" $(GOTEST) ./... | $(GOTALLY) -name e2e -o ../bin/e2e.tally

.PHONY: fmt
fmt: ## Fail when a file is not gofmt-ed
	@out=$$(gofmt -l .); \
		if [ -n "$$out" ]; then echo "not gofmt-ed; run gofmt -w on:"; echo "$$out"; exit 1; fi

.PHONY: vet
vet: ## Run go vet in both modules
	go vet ./...
	cd e2e && go vet -tags xcaddy,firefox,release ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint in both modules
	$(GOLANGCI_LINT) run ./...
	cd e2e && $(GOLANGCI_LINT) run --config ../.golangci.yml --build-tags xcaddy,firefox,release ./...

.PHONY: cross
cross: ## Build and vet for macOS and Windows
	@for os in darwin windows; do \
		echo "GOOS=$$os go build ./... && go vet ./..."; \
		CGO_ENABLED=0 GOOS=$$os go build -ldflags=-w ./...; \
		CGO_ENABLED=0 GOOS=$$os go vet ./...; \
	done

.PHONY: release-test
release-test: $(GOTALLY) ## Build the image without Docker and a release, and run both
	@echo "Building Caddy as a release: about 4 minutes the first time."
	@cd e2e && $(GOTEST) -tags release -run 'TestImage|TestRelease' ./deploy | $(GOTALLY) -name release -o ../bin/release.tally

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Look for known vulnerabilities (VULNDB=file:///path: a copy of the database)
	@internal/gate/vuln.sh $(GOVULNCHECK)

.PHONY: race
race: $(GOTALLY) ## Run all tests again, with the race detector
	@echo "Building Caddy with the race detector: about 5 minutes on two cores the first time."
	@go build -race -ldflags=-w -o $(CADDY_RACE) ./caddy/cmd/caddy
	@echo "Running the unit tests with the race detector: about 2 minutes."
	@$(GOTEST) -race ./... | $(GOTALLY) -name "unit, race" -o bin/unit-race.tally
	@echo "Running the end-to-end tests with the race detector: about 8 minutes."
	@cd e2e && AUTHINJECT_BINARY="$${AUTHINJECT_BINARY:-$(CADDY_RACE)}" $(GOTEST) -race ./... | $(GOTALLY) -name "e2e, race" -o ../bin/e2e-race.tally

.PHONY: soak
soak: $(GOTALLY) ## Run the load and crash tests for an hour (E2E_SOAK=10m: less)
	cd e2e && E2E_LONG=1 go test -race -count=1 -p 1 -timeout 2h -json ./firstlight ./survive | $(GOTALLY) -name soak

.PHONY: simulate
simulate: ## Simulate processes, a storage and a provider under faults (SEEDS=10000)
	go test -vet=off -count=1 -timeout 2h -v -run 'TestSimulation$$' ./tokensource -sim.seeds $(SEEDS)

.PHONY: xcaddy
xcaddy: $(XCADDY) $(GOTALLY) ## Build with xcaddy and serve a request through it
	cd e2e && XCADDY=$(XCADDY) CADDY_VERSION=$(CADDY_VERSION) \
		go test -count=1 -tags xcaddy -json ./xcaddy | $(GOTALLY) -name xcaddy

.PHONY: firefox
firefox: $(GOTALLY) ## Try what web pages can do in Firefox, too (Debian: firefox-esr)
	cd e2e && go test -count=1 -tags firefox -run InFirefox -json ./connect | $(GOTALLY) -name firefox

##@ More

# What a request costs is measured between processes, on loopback only. Benchmarks of single functions
# are in their packages: go test -run '^$$' -bench . ./tokensource
.PHONY: bench
bench: ## Measure what a request costs and write docs/performance.md, about 20 minutes (BENCH=Share: only that)
	cd e2e && go test -vet=off -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 60m ./bench $(if $(filter .,$(BENCH)),-update)

# Making each new input small, for up to a minute, would take most of the time where what
# a run covers is not always the same.
.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (60s) each
	@n=0; \
	for f in $$(grep -rl --include='*_test.go' --exclude-dir=e2e '^func Fuzz' .); do \
		dir=$$(dirname "$$f"); \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$f"); do \
			echo "$$target in $$dir for $(FUZZTIME)"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir"; \
			n=$$((n + 1)); \
		done; \
	done; \
	if [ $$n -eq 0 ]; then echo "no fuzz target found"; exit 1; fi

.PHONY: golden
golden: ## Rewrite the fixtures, lists and tables that come from the code
	go test ./caddy ./tokensource ./tokensource/provider ./grants/azure ./grants/google -update
	cd e2e && go test ./readme ./bench -run 'JSONBeside|^TestPage$$' -update

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist

# The checker is small and has no dependencies: building it takes no time.
.PHONY: $(GOTALLY)
$(GOTALLY):
	@go build -o $@ ./internal/gotally

# The version is in the file's name, so a new version is built by itself.
$(GOLANGCI_LINT):
	@mkdir -p $(BIN)/tmp
	cd $(BIN)/tmp && GOBIN=$(BIN)/tmp go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(BIN)/tmp/golangci-lint $@

$(GOVULNCHECK):
	@mkdir -p $(BIN)/tmp
	cd $(BIN)/tmp && GOBIN=$(BIN)/tmp go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	@mv $(BIN)/tmp/govulncheck $@

# "go install" of xcaddy first asks for the list of its versions, which not
# every module mirror answers; building inside the downloaded module does not.
$(XCADDY):
	@mkdir -p $(BIN)/tmp
	cd $(BIN)/tmp && go mod download -json github.com/caddyserver/xcaddy@$(XCADDY_VERSION) >xcaddy.json
	go build -C "$$(sed -n 's/^.*"Dir": "\(.*\)".*$$/\1/p' $(BIN)/tmp/xcaddy.json)" -o $@ ./cmd/xcaddy
