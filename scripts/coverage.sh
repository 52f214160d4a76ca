#!/usr/bin/env bash
# Line coverage of engine, aggregates, projections and gateway by all tests of the workspace; fails below 80 %.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

MINIMUM_PERCENT=80

require_rust
require_build_tools
scripts/install-postgres.sh
scripts/install-cargo-tool.sh cargo-llvm-cov 0.9.1

# rustup's own tools fit the compiler best; where they can't be had, Debian's of the last version do, as long as they
# know the format of the profiles (a mismatch is an error, never a wrong figure).
if ! rustup component list --installed 2>/dev/null | grep -q '^llvm-tools' && ! rustup component add llvm-tools >&2; then
    apt_install llvm-19 || die "coverage needs llvm-profdata and llvm-cov: rustup component add llvm-tools"
    export LLVM_COV=/usr/lib/llvm-19/bin/llvm-cov LLVM_PROFDATA=/usr/lib/llvm-19/bin/llvm-profdata
fi

say "Running all tests with coverage"
unset DATABASE_URL
# A target directory of its own, instrumented throughout: also the binaries that tests start as processes.
export CARGO_TARGET_DIR="$TARGET_DIR/llvm-cov-target"
scripts/install-foreign.sh
environment="$(cargo llvm-cov show-env --sh)"
eval "$environment"
cargo llvm-cov clean --workspace --profraw-only
cargo build --workspace --bins
if have cargo-nextest; then
    cargo nextest run --workspace --no-fail-fast
else
    cargo test --workspace --all-targets --no-fail-fast
fi

status=0
for crate in engine aggregates projections gateway; do
    others="$(printf '%s\n' kernel schemas engine aggregates projections workflows gateway replay benches tests deploy | grep -vx "$crate" | paste -sd '|')"
    say "$crate"
    cargo llvm-cov report --ignore-filename-regex "^$PWD/($others)/" --summary-only --fail-under-lines "$MINIMUM_PERCENT" || status=1
done
[ "$status" -eq 0 ] || die "a crate is covered by less than $MINIMUM_PERCENT % of its lines"
