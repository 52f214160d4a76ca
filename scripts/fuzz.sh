#!/usr/bin/env bash
# The fuzz targets: what strangers can send, changed at random and by what it reaches, against the parsers that read it.
#   fuzz.sh [--seconds N] [--only NAME]…   each for so long (60), or these only
#   fuzz.sh --only NAME --input FILE       one input again, such as one that broke something
#   fuzz.sh --list                         what targets there are
# Stable Rust does: LLVM's own pass tells what is reached, and libFuzzer comes with a crate and a C++ compiler. There is
# no address sanitizer, which needs nightly; a panic, an overflow, a failed assertion and 25 s for one input are findings.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

seconds=60 input='' only=()
all=()
for file in fuzz/fuzz_targets/*.rs; do
    all+=("$(basename "$file" .rs)")
done
while [ $# -gt 0 ]; do
    case "$1" in
    --seconds) seconds="${2:?--seconds wants a number}" ;;
    --only) only+=("${2:?--only wants a target}") ;;
    --input) input="${2:?--input wants a file}" ;;
    --list) printf '%s\n' "${all[@]}" && exit 0 ;;
    *) die "fuzz.sh knows --seconds N, --only NAME, --input FILE and --list, not $1." ;;
    esac
    shift 2
done
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "--seconds wants a whole number from 1 on, not $seconds."
for name in "${only[@]}"; do
    [ -f "fuzz/fuzz_targets/$name.rs" ] || die "there is no target $name; there are: ${all[*]}"
done
[ ${#only[@]} -gt 0 ] || only=("${all[@]}")
if [ -n "$input" ]; then
    [ ${#only[@]} -eq 1 ] || die "--input wants one target: add --only NAME."
    [ -f "$input" ] || die "there is no file $input."
fi

require_rust
require_build_tools
have "${CXX:-c++}" || apt_install g++ || die "libFuzzer is built with a C++ compiler; install g++."

host="$(rustc -vV | sed -n 's/^host: //p')"
# With --target, build scripts and macros are built without the flags: they don't link with a fuzzer.
export CARGO_TARGET_DIR="$TARGET_DIR/fuzz"
flags='--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module'
for flag in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$flag"
done
say "Building the fuzz targets (the first time all dependencies, some minutes)"
bins=()
for name in "${only[@]}"; do
    bins+=(--bin "$name")
done
RUSTFLAGS="$flags" cargo build --locked --manifest-path fuzz/Cargo.toml --target "$host" "${bins[@]}"

if [ -n "$input" ]; then
    exec "$CARGO_TARGET_DIR/$host/debug/${only[0]}" "$input"
fi

failed=()
for name in "${only[@]}"; do
    # What is found interesting stays from run to run, beside what is built; the checked-in corpus is only read.
    found="$CARGO_TARGET_DIR/corpus/$name" broken="$CARGO_TARGET_DIR/artifacts/$name"
    mkdir -p "$found" "$broken"
    say "$name, for $seconds s"
    "$CARGO_TARGET_DIR/$host/debug/$name" -max_total_time="$seconds" -max_len=4096 -timeout=25 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="$broken/" "$found" "fuzz/corpus/$name" || failed+=("$name")
done
if [ ${#failed[@]} -gt 0 ]; then
    for name in "${failed[@]}"; do
        last="$(find "$CARGO_TARGET_DIR/artifacts/$name" -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)"
        say "$name broke: make fuzz ARGS='--only $name --input $last' shows it again. Mend it, and put the input into fuzz/corpus/$name."
    done
    die "what broke: ${failed[*]}"
fi
say "Nothing broke."
