# The only verbs. CI calls the same ones.
#   make run     set up, build, start on the embedded defaults; prints URL, token, client config, a curl line
#   make test    set up, then everything: format, lints, docs, tests (real binary, clients, servers, hostile programs)
#   make check   format, lints and docs only
#   make conformance   the MCP conformance suites against the protocol layer; also the last step of make test
#   make chaos   breaks real servers on purpose, prints scenario x invariants; SEED=… SECONDS=… ARGS=…
#   make bench   CPU per operation, rates and latencies beside a floor or a peer in the same run
#   make load    five times the load it can carry: goodput, and how quickly the rest is refused
#   make clean   forget build and tools
SHELL := /bin/bash
cache := $(or $(ULTIMATE_MCP_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ultimate-mcp)
export ULTIMATE_MCP_CACHE := $(cache)
# One target directory outside the checkout, so that every checkout reuses it.
export CARGO_TARGET_DIR ?= $(cache)/target
export CARGO_INCREMENTAL := 0
export ULTIMATE_MCP__CELL__TOOLS_DIR ?= $(cache)/tools
bin := $(CARGO_TARGET_DIR)/release/ultimate-mcp

.PHONY: run build test check conformance chaos bench load clean setup-run setup-test
run: build
	@exec $(bin) serve $(ARGS)

build: setup-run
	@cargo build --release --quiet

setup-run:
	@deploy/setup.sh run

setup-test:
	@deploy/setup.sh test

check:
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

test: setup-test check
	tests/kit/servers/with-servers.sh cargo test --workspace --quiet
	cargo test --features faults --test main --quiet faults::
	tests/kit/servers/newest-neo4j.sh cargo test --workspace --test graph --test neo4j --quiet
	@$(MAKE) --no-print-directory conformance

# Against the suites' fixtures behind the product's own protocol layer: tests/conformance.
conformance: setup-test
	cargo build --quiet -p ultimate-mcp-conformance
	tests/conformance/run.sh $(CARGO_TARGET_DIR)/debug/ultimate-mcp-conformance

# As root the scenarios with a small disk and with a memory limit run too. One server serves the whole table: fault
# points do nothing until they are armed. It gets a name of its own, so that nobody takes it for the real one.
chaos: setup-test
	cargo build --release --quiet -p ultimate-mcp -p ultimate-mcp-chaos --features ultimate-mcp/faults
	mv -f $(bin) $(bin)-faults
	ULTIMATE_MCP_BINARY=$(bin)-faults $(CARGO_TARGET_DIR)/release/ultimate-mcp-chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

bench: setup-test
	cargo build --release --quiet --features bench
	cargo run --release --quiet --features bench --example bench
	cargo run --release --quiet -p ultimate-mcp-sandbox --example floor
	cargo run --release --quiet -p ultimate-mcp-sandbox --example endurance
	cargo run --release --quiet --example idle_sockets
	cargo run --release --quiet -p ultimate-mcp-actors --example audit_rate -- 1000000
	cargo run --release --quiet -p ultimate-mcp-actors --example cache_cost
	tests/kit/servers/with-servers.sh cargo run --release --quiet -p ultimate-mcp-actors --example ship_drain
	tests/kit/servers/with-servers.sh loadtest/graph/run.sh
	loadtest/jobs/run.sh

load: setup-run
	cargo build --release --quiet
	cargo run --release --quiet --example overload

clean:
	rm -rf "$(cache)/target" "$(cache)/tools" "$(cache)"/client-* "$(cache)/conformance" "$(cache)/oidc" "$(cache)"/.done-*
