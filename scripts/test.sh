#!/usr/bin/env bash
# Everything that must pass. Each step runs whatever became of the former ones; the summary at the end says which
# failed. The tests' own PostgreSQL cluster is made for this run and removed after it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

NEXTEST_VERSION=0.9.151

require_rust
require_build_tools
scripts/install-postgres.sh

# What a developer's shell happens to hold must not decide what a test sees.
postgres_data_dir="$TENANTRY_DATA_DIR"
for variable in $(compgen -e | grep '^TENANTRY_' | grep -v '^TENANTRY_PG_') DATABASE_URL RUST_LOG; do
    unset "$variable"
done
if [ -z "${TENANTRY_PG_BIN:-}" ] && [ -d "$postgres_data_dir/postgresql" ] && ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
    # A build fetched without root lies in the data directory, which tests have another of.
    for bin in "$postgres_data_dir"/postgresql/*/bin; do
        export TENANTRY_PG_BIN="$bin"
    done
fi

scratch="$(mktemp -d)"
export TENANTRY_TEST_CLUSTER="$scratch/cluster"
# The user PostgreSQL runs as when we are root has to pass through.
chmod 711 "$scratch"
clean_up() {
    local binary="$TARGET_DIR/debug/cluster"
    if [ -x "$binary" ] && [ -d "$TENANTRY_TEST_CLUSTER/postgres" ]; then
        "$binary" destroy --yes --data-dir "$TENANTRY_TEST_CLUSTER" >/dev/null || true
    fi
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

summary=()
failed=0
step() { # name command…
    local name="$1" begin=$SECONDS result
    shift
    say "$name"
    if "$@"; then
        result=ok
    else
        result=FAILED
        failed=1
    fi
    summary+=("$(printf '  %-28s %-8s %4d s' "$name" "$result" $((SECONDS - begin)))")
}
skip() { # name reason
    summary+=("$(printf '  %-28s %-8s %s' "$1" skipped "$2")")
}

run_tests() {
    if scripts/install-cargo-tool.sh cargo-nextest "$NEXTEST_VERSION"; then
        cargo nextest run --workspace --no-fail-fast
    else
        say "cargo-nextest could not be installed; using cargo test"
        cargo test --workspace --all-targets --no-fail-fast
    fi
}

for component in rustfmt clippy; do
    have "cargo-${component/rustfmt/fmt}" || rustup component add "$component" >&2 ||
        die "rustup component add $component failed; $component is needed."
done

step "servers of the tests that others wrote" scripts/install-foreign.sh
step "format" cargo fmt --all --check
step "clippy" cargo clippy --workspace --all-targets -- -D warnings
# The binaries first: tests run them.
step "build" cargo build --workspace --bins
step "documentation tests" cargo test --workspace --doc --quiet
step "tests" run_tests
if have cargo-deny; then
    step "bans, licences, sources" scripts/deny.sh
else
    skip "bans, licences, sources" "cargo-deny is not installed; 'make deny' installs it (some minutes) and runs it"
fi

echo
echo "Summary"
printf '%s\n' "${summary[@]}"
echo
if [ "$failed" -eq 0 ]; then
    echo "Everything passed."
else
    echo "Something failed; see above."
fi
exit "$failed"
