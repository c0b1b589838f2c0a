# Everything one does with this checkout. `make` alone lists it.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash

built := $(or $(CARGO_TARGET_DIR),target)
testbed := '$(built)/debug/examples/testbed'
helm := target/cluster/bin/helm
deny := target/tools/bin/cargo-deny
deny_version := 0.20.2
fuzz_version := 0.13.2
fuzz := $(or $(shell command -v cargo-fuzz),target/tools/bin/cargo-fuzz)

# Every shell sets USER: only one given to make counts. GROUPS likewise.
given = $(if $(filter command line,$(origin $(1))),$(value $(1)))

##@ Try it

.PHONY: demo
ifeq ($(origin CONTEXT),command line)
demo: cargo ## Watch a request being approved; CONTEXT=name uses that cluster instead of a new one
	@cargo build --quiet --bin quorate --example testbed
	@exec $(testbed) demo --context '$(CONTEXT)'
else
demo: build-testbed ## Watch a request being approved; CONTEXT=name uses that cluster instead of a new one
	@exec $(testbed) demo
endif

.PHONY: up
up: build-testbed ## Run a control plane and the operator until Ctrl-C; VALUES=file adds values of the chart, SMTP_URL=smtp://host:port is where mail goes
	@exec $(testbed) up $(if $(call given,VALUES),--values '$(call given,VALUES)')

.PHONY: cluster
cluster: build-testbed ## Start a control plane in the background
	@exec $(testbed) start

.PHONY: cluster-down
cluster-down: cargo ## Stop that control plane
	@[[ -x $(testbed) || ! -e target/cluster/run ]] || cargo build --quiet --example testbed
	@[[ ! -e target/cluster/run ]] || exec $(testbed) stop

.PHONY: kubeconfig
kubeconfig: cargo ## Write a kubeconfig for USER=mary GROUPS=a,b and print its path
	@[[ -n '$(call given,USER)' ]] || { echo 'Say who: make kubeconfig USER=mary GROUPS=a,b' >&2; exit 2; }
	@[[ -x $(testbed) ]] || cargo build --quiet --example testbed
	@exec $(testbed) kubeconfig --user '$(call given,USER)' --groups '$(call given,GROUPS)'

##@ Work on it

.PHONY: test
test: tools mail-tools cargo ## Run all tests, against a real control plane
	cargo test

.PHONY: lint
lint: tools cargo $(deny) ## Check formatting, lints, documentation, chart and licences
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items
	$(helm) lint charts/quorate
	@echo 'cargo deny: advisories are skipped, as they must be fetched; run "cargo deny check advisories" with a network'
	$(deny) check licenses bans sources

.PHONY: bench
bench: tools cargo ## Measure the operator against a real control plane
	cargo build --release --bin quorate --example testbed
	@exec '$(built)/release/examples/testbed' bench

# Without sanitizers: there is no unsafe code to find faults in, and so it needs no nightly compiler.
.PHONY: fuzz
fuzz: cargo $(fuzz) ## Look for what breaks Quorate; TARGET=definition, story or cel, for SECONDS=60
	@mkdir -p fuzz/found/$(fuzz_target)
	PATH="$(dir $(abspath $(fuzz))):$$PATH" cargo $(nightly) fuzz run --sanitizer none $(fuzz_target) \
	  fuzz/found/$(fuzz_target) fuzz/corpus/$(fuzz_target) $(if $(filter story,$(fuzz_target)),tests/scenarios) \
	  -- -max_total_time=$(or $(call given,SECONDS),60) -timeout=20 -max_len=8192 -only_ascii=0

fuzz_target = $(or $(call given,TARGET),story)
nightly = $(shell rustup toolchain list 2>/dev/null | grep -q ^nightly && echo +nightly)

.PHONY: crds
crds: cargo ## Write crds/ anew from src/api
	cargo run --quiet --bin quorate -- crds

.PHONY: clean
clean: cluster-down ## Stop the control plane and remove everything that was built
	cargo clean
	rm -rf target

##@ Parts of the above

.PHONY: tools
tools: ## Build Kubernetes, etcd and helm (minutes, once)
	@tests/cluster/build.sh

.PHONY: mail-tools
mail-tools:
	@tests/cluster/build.sh --mail

.PHONY: build-testbed
build-testbed: tools cargo
	@cargo build --quiet --bin quorate --example testbed

.PHONY: cargo
cargo:
	@command -v cargo >/dev/null || { echo 'cargo is missing. Install Rust from https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || tests/cluster/build.sh --compiler

$(deny): | cargo
	cargo install --locked cargo-deny --version $(deny_version) --root target/tools

target/tools/bin/cargo-fuzz: | cargo
	cargo install --locked cargo-fuzz --version $(fuzz_version) --root target/tools

.PHONY: help
help: ## List all this
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / && !shown[$$1]++ { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
