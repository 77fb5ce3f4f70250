# One command for each thing a newcomer, a developer or CI wants; `make help` lists them.

CARGO ?= cargo
PREFIX ?= $(HOME)/.local

.DEFAULT_GOAL := help
.PHONY: help setup demo fleet test test-setup lint fmt bench install uninstall clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## check the tools and install libtorch into .libtorch (once)
	@scripts/setup.sh

demo: setup ## search bitwidths for the embedded network on an edge TPU, and say where the plots are
	$(CARGO) build --release --locked
	@start=$$(mktemp) && trap 'rm -f "$$start"' EXIT && \
	$(CARGO) run --quiet --release --locked -- search --hw edge-tpu.toml && \
	echo && echo "Open the plots of this run:" && \
	find haq-out -newer "$$start" \( -name '*.html' -o -name '*.svg' -o -name '*.png' \) | sort | sed 's/^/  /'

fleet: setup ## a search on a queue with two workers on this machine, beside the same search alone
	$(CARGO) build --release --locked
	scripts/fleet_demo.sh

test: setup lint ## check everything: format, clippy with warnings as errors, all tests
	$(CARGO) test --workspace --locked

test-setup: ## try setup on simulated bare machines (offline)
	scripts/test_setup.sh

lint: setup ## check format and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format the code
	$(CARGO) fmt --all

bench: setup ## run the benchmarks
	$(CARGO) bench --workspace --locked

install: setup ## put a working haq into PREFIX/bin (default ~/.local)
	$(CARGO) build --release --locked
	scripts/install.sh "$(PREFIX)"

uninstall: ## remove what `make install` put there
	scripts/install.sh --uninstall "$(PREFIX)"

clean: ## remove build output; .libtorch, databases and haq-out stay
	$(CARGO) clean
