#!/usr/bin/env bash
# Line coverage of engine, aggregates, projections and gateway by all tests of the workspace; fails below 80 %.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

MINIMUM_PERCENT=80

require_rust
require_build_tools
scripts/install-postgres.sh
scripts/install-cargo-tool.sh cargo-llvm-cov 0.9.1
rustup component list --installed 2>/dev/null | grep -q '^llvm-tools' ||
    rustup component add llvm-tools >&2 || die "coverage needs: rustup component add llvm-tools"

runner=test
have cargo-nextest && runner=nextest
say "Running all tests with coverage"
unset DATABASE_URL
cargo llvm-cov "$runner" --workspace --no-report

status=0
for crate in engine aggregates projections gateway; do
    others="$(printf '%s\n' kernel schemas engine aggregates projections workflows gateway replay benches tests deploy | grep -vx "$crate" | paste -sd '|')"
    say "$crate"
    cargo llvm-cov report --ignore-filename-regex "^$PWD/($others)/" --summary-only --fail-under-lines "$MINIMUM_PERCENT" || status=1
done
[ "$status" -eq 0 ] || die "a crate is covered by less than $MINIMUM_PERCENT % of its lines"
