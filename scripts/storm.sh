#!/usr/bin/env bash
# The storm, a minute long instead of some seconds: ten times as many clients as the server takes commands, and harmful
# connections, against the binary. TENANTRY_STORM_SECONDS says how long.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

require_rust
require_build_tools
scripts/install-postgres.sh
export TENANTRY_STORM_SECONDS="${TENANTRY_STORM_SECONDS:-60}"
unset DATABASE_URL
say "Building"
cargo build --workspace --bins
exec cargo test -p tests --test it overload:: -- --nocapture --test-threads=1
