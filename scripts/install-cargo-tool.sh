#!/usr/bin/env bash
# install-cargo-tool.sh NAME VERSION: installs a cargo subcommand at a pinned version unless one is there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

name="$1"
version="$2"
if have "$name"; then
    exit 0
fi
say "Installing $name $version (once; compiling it takes some minutes)"
# Elsewhere, so that the workspace's own configuration and build lock stay out of it.
cd /
CARGO_TARGET_DIR='' && unset CARGO_TARGET_DIR
cargo install --locked --quiet "$name" --version "$version" >&2
