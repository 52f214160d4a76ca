#!/usr/bin/env bash
# A CycloneDX bill of materials for each binary: target/sbom/{tenantry,replay}.cdx.json.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

require_rust
scripts/install-cargo-tool.sh cargo-cyclonedx 0.5.9
cargo cyclonedx --format json --describe binaries --quiet
mkdir -p "$TARGET_DIR/sbom"
# It writes beside each manifest; only the binaries that are shipped matter, and nothing stays among the sources.
for name in tenantry replay; do
    find . -path ./target -prune -o -name "${name}_bin.cdx.json" -exec cp {} "$TARGET_DIR/sbom/$name.cdx.json" \;
    [ -s "$TARGET_DIR/sbom/$name.cdx.json" ] || die "cargo cyclonedx wrote no bill for $name"
done
find . -path ./target -prune -o -name '*.cdx.json' -exec rm {} +
say "Written: $TARGET_DIR/sbom/"
