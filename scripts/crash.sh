#!/usr/bin/env bash
# The crash suite's long form: a server under load whose process, database or connection is taken away, again and
# again, and after each round everything that must hold is checked. A failure tells the seed that repeats it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

usage() { die "usage: make crash ARGS='--rounds NUMBER --seed NUMBER'"; }

rounds=70
seed=$RANDOM
while [ $# -gt 0 ]; do
    case "$1" in
        --rounds) rounds="${2:-}"; shift 2 || usage ;;
        --seed) seed="${2:-}"; shift 2 || usage ;;
        *) usage ;;
    esac
done
[[ "$rounds" =~ ^[1-9][0-9]*$ && "$seed" =~ ^[0-9]+$ ]] || usage

require_rust
require_build_tools
scripts/install-postgres.sh
for variable in $(compgen -e | grep '^TENANTRY_' | grep -v '^TENANTRY_PG_') DATABASE_URL RUST_LOG; do
    unset "$variable"
done
say "Building"
cargo build --quiet --workspace --bins
say "$rounds rounds with seed $seed"
export TENANTRY_CRASH_ROUNDS="$rounds" TENANTRY_CRASH_SEED="$seed"
exec cargo test --quiet --package tests --test it -- --exact --nocapture \
    crash::whatever_is_taken_away_nothing_acknowledged_is_lost_and_nothing_happens_twice
