#!/usr/bin/env bash
# The engine's deterministic simulation, as long as one likes:
#   simulate.sh [--seeds N] [--first N]   so many worlds, from a seed on (100,000 from a random one)
#   simulate.sh --seed N                  one world again, with all that happens in it
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# Worlds in one process: some gigabyte and a half of memory, and a minute or two.
PORTION=5000

seeds=100000 first=$((RANDOM * 32768 * 1000 + RANDOM * 1000)) seed=
while [ $# -gt 0 ]; do
    case "$1" in
    --seeds) seeds="${2:?--seeds wants a number}" ;;
    --first) first="${2:?--first wants a number}" ;;
    --seed) seed="${2:?--seed wants a number}" ;;
    *) die "simulate.sh knows --seeds N, --first N and --seed N, not $1." ;;
    esac
    shift 2
done

require_rust
require_build_tools
simulate() {
    cargo test --quiet --workspace --test simulation -- --exact --nocapture \
        whatever_goes_wrong_every_answer_is_true_and_the_journal_is_sound
}

if [ -n "$seed" ]; then
    export TENANTRY_SIMULATION_SEED="$seed"
    say "Simulating seed $seed"
    simulate
    exit
fi
say "Simulating $seeds worlds from seed $first on"
# What worlds leave behind is only freed with their process: each portion has one of its own.
for ((past = 0; past < seeds; past += count)); do
    count=$((seeds - past < PORTION ? seeds - past : PORTION))
    export TENANTRY_SIMULATION_SEEDS="$count" TENANTRY_SIMULATION_FIRST="$((first + past))"
    simulate
    say "$((past + count)) of $seeds worlds are sound"
done
