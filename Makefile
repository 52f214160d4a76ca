# `make run` and `make test` are all that is needed; the rest is for maintainers. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))

.PHONY: help run test simulate crash storm fuzz bench bench-peers coverage deny sbom fmt stop

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(ROOT)Makefile

run: ## install what is missing, build, and serve (ARGS='…' goes to tenantry serve)
	@exec $(ROOT)scripts/run.sh $(ARGS)

test: ## everything that must pass
	@$(ROOT)scripts/test.sh

simulate: ## the engine's simulation, long (ARGS='--seeds 100000', or '--seed N' to see one world again)
	@$(ROOT)scripts/simulate.sh $(ARGS)

crash: ## many rounds of kill, stop and cut under load (ARGS='--rounds N --seed S'); make test runs a few
	@$(ROOT)scripts/crash.sh $(ARGS)

storm: ## the overload tests, a minute long
	@$(ROOT)scripts/storm.sh

fuzz: ## what strangers can send, against the parsers (ARGS='--seconds 60 --only cursor', '--list')
	@$(ROOT)scripts/fuzz.sh $(ARGS)

bench: ## every workload beside its peer (ARGS='--quick', '--only NAME…', '--list')
	@$(ROOT)scripts/bench.sh $(ARGS)

bench-peers: ## other event-sourcing libraries at the same command, in turns with ours (see benches/peers)
	@$(ROOT)scripts/bench.sh --only peers $(ARGS)

coverage: ## line coverage, at least 80 % in engine, aggregates, projections and gateway
	@$(ROOT)scripts/coverage.sh

deny: ## bans, licences and sources of all dependencies
	@$(ROOT)scripts/deny.sh

sbom: ## a CycloneDX bill of materials per binary, in target/sbom
	@$(ROOT)scripts/sbom.sh

fmt: ## format all code
	@cargo fmt --all --manifest-path $(ROOT)Cargo.toml

stop: ## stop the private PostgreSQL that `make run` left running; its data stays
	@cargo run --quiet --manifest-path $(ROOT)Cargo.toml -p cluster -- stop
