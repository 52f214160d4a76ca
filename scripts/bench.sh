#!/usr/bin/env bash
# The benchmark of the journal's write path; arguments go to it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

require_rust
require_build_tools
scripts/install-postgres.sh
say "Building (release)"
exec cargo run --release -p benches -- "$@"
