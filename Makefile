# Every gate of this project is a target here; CI runs "make test".
# Needs Go and a POSIX system with bash. Tools are built from source, at the
# versions below, into ./bin.

GOLANGCI_LINT_VERSION := v2.15.0
XCADDY_VERSION        := v0.4.5

FUZZTIME  ?= 60s
BENCH     ?= .
BENCHTIME ?= 1s

# A pipe fails when its first command does, not only its last.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c

BIN           := $(CURDIR)/bin
GOLANGCI_LINT := $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION)
XCADDY        := $(BIN)/xcaddy-$(XCADDY_VERSION)
GOTALLY       := $(BIN)/gotally
# Vet, lint, unit and e2e all look at the build with the race detector, so that
# Caddy is compiled once for all four.
RACE           = $(strip $(shell go env GOFLAGS) -race)
CADDY_VERSION  = $(shell go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)

.DEFAULT_GOAL := help

##@ Start here

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo

.PHONY: run
run: ## Start the demo on loopback: an authorization server, an API, the proxy
	go build -o bin/caddy ./caddy/cmd/caddy
	go build -o bin/demo ./examples/demo
	@exec bin/demo -caddy bin/caddy

##@ Gates

.PHONY: test
test: fmt vet lint cross unit e2e ## Run every gate; a skipped test is a failure
	@$(GOTALLY) -sum bin/unit.tally bin/e2e.tally

.PHONY: fmt
fmt: ## Fail when a file is not gofmt-ed
	@out=$$(gofmt -l .); \
		if [ -n "$$out" ]; then echo "not gofmt-ed; run gofmt -w on:"; echo "$$out"; exit 1; fi

.PHONY: vet
vet: ## Run go vet in both modules
	go vet -race ./...
	cd e2e && go vet -race -tags xcaddy,firefox ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint in both modules
	GOFLAGS="$(RACE)" $(GOLANGCI_LINT) run ./...
	cd e2e && GOFLAGS="$(RACE)" $(GOLANGCI_LINT) run --config ../.golangci.yml --build-tags xcaddy,firefox ./...

.PHONY: cross
cross: ## Build and vet for macOS and Windows
	@for os in darwin windows; do \
		echo "GOOS=$$os go build ./... && go vet ./..."; \
		CGO_ENABLED=0 GOOS=$$os go build ./...; \
		CGO_ENABLED=0 GOOS=$$os go vet ./...; \
	done

.PHONY: unit
unit: $(GOTALLY) ## Run the root module's tests with the race detector
	go test -race -json ./... | $(GOTALLY) -name unit -o bin/unit.tally

.PHONY: e2e
e2e: $(GOTALLY) ## Run the built binary against real servers
	cd e2e && go test -race -count=1 -json ./... | $(GOTALLY) -name e2e -o ../bin/e2e.tally

.PHONY: soak
soak: $(GOTALLY) ## Run the load and crash tests for an hour (E2E_SOAK=10m: less)
	cd e2e && E2E_LONG=1 go test -race -count=1 -p 1 -timeout 2h -json ./firstlight ./survive | $(GOTALLY) -name soak

.PHONY: xcaddy
xcaddy: $(XCADDY) $(GOTALLY) ## Build with xcaddy and serve a request through it
	cd e2e && XCADDY=$(XCADDY) CADDY_VERSION=$(CADDY_VERSION) \
		go test -count=1 -tags xcaddy -json ./xcaddy | $(GOTALLY) -name xcaddy

.PHONY: firefox
firefox: $(GOTALLY) ## Try what web pages can do in Firefox, too (Debian: firefox-esr)
	cd e2e && go test -count=1 -tags firefox -run InFirefox -json ./connect | $(GOTALLY) -name firefox

##@ More

.PHONY: bench
bench: ## Run the benchmarks (BENCH=regexp, BENCHTIME=1s)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...
	cd e2e && go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

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
	go test ./caddy/... ./tokensource/provider -update

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin

# The checker is small and has no dependencies: building it takes no time.
.PHONY: $(GOTALLY)
$(GOTALLY):
	@go build -o $@ ./internal/gotally

# The version is in the file's name, so a new version is built by itself.
$(GOLANGCI_LINT):
	@mkdir -p $(BIN)/tmp
	cd $(BIN)/tmp && GOBIN=$(BIN)/tmp go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(BIN)/tmp/golangci-lint $@

# "go install" of xcaddy first asks for the list of its versions, which not
# every module mirror answers; building inside the downloaded module does not.
$(XCADDY):
	@mkdir -p $(BIN)/tmp
	cd $(BIN)/tmp && go mod download -json github.com/caddyserver/xcaddy@$(XCADDY_VERSION) >xcaddy.json
	go build -C "$$(sed -n 's/^.*"Dir": "\(.*\)".*$$/\1/p' $(BIN)/tmp/xcaddy.json)" -o $@ ./cmd/xcaddy
