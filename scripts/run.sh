#!/usr/bin/env bash
# Everything from a fresh checkout to a serving control plane. Arguments go to `tenantry serve`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

require_rust
require_build_tools
if [ -n "${DATABASE_URL:-}" ]; then
    say "Using the database of DATABASE_URL"
else
    scripts/install-postgres.sh
fi
say "Building (the first time takes some minutes)"
# The address of a database is for the server, not for macros at build time.
env -u DATABASE_URL cargo build --release --bin tenantry --bin replay
say "Starting; data is in $TENANTRY_DATA_DIR"
exec "$TARGET_DIR/release/tenantry" serve "$@"
