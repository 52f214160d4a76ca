#!/usr/bin/env bash
# Bans, licences and sources of every dependency, by deny.toml. Works offline; advisories need the network and are
# left to `cargo deny check advisories`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

require_rust
scripts/install-cargo-tool.sh cargo-deny 0.20.2
exec cargo deny --locked check bans licenses sources
