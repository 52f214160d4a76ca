#!/usr/bin/env bash
# Every workload beside its peer; arguments go to the benchmark.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

require_rust
require_build_tools
scripts/install-postgres.sh
say "Building (release)"
exec cargo run --release -p benches -- "$@"
