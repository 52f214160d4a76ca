#!/usr/bin/env bash
# Event-sourcing libraries at the benchmark's command, each a process of its own: benches/peers/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

PEERS=(eventsourcing emmett disintegrate)
NODE_MINIMUM=18
PYTHON_MINIMUM=3.11
VENV="$TARGET_DIR/peers/eventsourcing"
DISINTEGRATE="$TARGET_DIR/peers/disintegrate"

usage() {
    cat <<END
Usage: scripts/bench-peers.sh --url URL [OPTION…]

Installs the peers and runs one after the other, each on an empty database that is made on the server and dropped
afterwards. Prints a JSON line of each on stdout, everything else on stderr; ends with 1 if one of them failed.

  --url URL            a server, as libpq's URL or key-value pairs; the role must be able to create databases
  --only NAME          this peer (${PEERS[*]}); may be given more than once
  --in-flight N        commands under way at once (256)
  --aggregates N       tenants they go to (1000)
  --warm-up SECONDS    before the measured time (2)
  --seconds SECONDS    measured (10)
  --pool N             connections of each peer (each its own default, the best of those tried)
  --help               this
END
}

main() {
    local url='' in_flight=256 aggregates=1000 warm_up=2 seconds=10 pool='' only=()
    while [ $# -gt 0 ]; do
        case "$1" in
            --help | -h) usage && return ;;
            --url | --only | --in-flight | --aggregates | --warm-up | --seconds | --pool)
                [ $# -ge 2 ] || die "$1 wants a value"
                ;;&
            --url) url="$2" ;;
            --only) only+=("$2") ;;
            --in-flight) in_flight="$2" ;;
            --aggregates) aggregates="$2" ;;
            --warm-up) warm_up="$2" ;;
            --seconds) seconds="$2" ;;
            --pool) pool="$2" ;;
            *) die "what is $1? See scripts/bench-peers.sh --help" ;;
        esac
        shift 2
    done
    [ -n "$url" ] || die "--url is missing; see scripts/bench-peers.sh --help"
    [ ${#only[@]} -gt 0 ] || only=("${PEERS[@]}")

    local name arguments failed=0
    for name in "${only[@]}"; do
        case " ${PEERS[*]} " in
            *" $name "*) ;;
            *) die "there is no peer $name; there are: ${PEERS[*]}" ;;
        esac
    done
    require_psql
    require_durable "$url"
    for name in "${only[@]}"; do
        "install_$name"
    done
    for name in "${only[@]}"; do
        say "$name: ${warm_up} s to warm up, ${seconds} s measured"
        arguments=(--in-flight "$in_flight" --aggregates "$aggregates" --warm-up "$warm_up" --seconds "$seconds")
        [ -z "$pool" ] || arguments+=(--pool "$pool")
        in_a_database "$url" "bench_peer_$name" "run_$name" "${arguments[@]}" || failed=1
    done
    return "$failed"
}

# eventsourcing

install_eventsourcing() {
    have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null || {
        say "Installing Python"
        apt_install python3 python3-venv || die "eventsourcing needs Python with venv. \
Ask an administrator for: apt-get install python3 python3-venv"
    }
    local version wanted=benches/peers/eventsourcing/requirements.txt
    version="$(python3 -c 'import platform; print(platform.python_version())')"
    version_at_least "$version" "$PYTHON_MINIMUM" ||
        die "Python $version is too old; eventsourcing needs $PYTHON_MINIMUM."
    # The copy is made last, so half an installation is begun anew.
    cmp -s "$wanted" "$VENV/installed.txt" && [ -x "$VENV/bin/python" ] && return
    say "Installing eventsourcing into $VENV"
    python3 -m venv --clear "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$VENV/installed.txt"
}

run_eventsourcing() {
    PYTHONDONTWRITEBYTECODE=1 "$VENV/bin/python" benches/peers/eventsourcing/peer.py "$@"
}

# emmett

install_emmett() {
    local version directory=benches/peers/emmett missing=()
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
    if [ ${#missing[@]} -gt 0 ]; then
        say "Installing ${missing[*]}"
        apt_install "${missing[@]}" || die "emmett needs Node $NODE_MINIMUM or newer with npm. \
Ask an administrator for: apt-get install ${missing[*]}"
    fi
    version="$(node --version)"
    version_at_least "${version#v}" "$NODE_MINIMUM" ||
        die "Node ${version#v} is too old for emmett; install $NODE_MINIMUM or newer (https://nodejs.org)."
    cmp -s "$directory/package-lock.json" "$directory/node_modules/installed.json" && return
    say "Installing emmett into $directory/node_modules"
    npm --prefix "$directory" ci --loglevel=error --ignore-scripts --no-audit --no-fund >&2
    cp "$directory/package-lock.json" "$directory/node_modules/installed.json"
}

run_emmett() {
    node benches/peers/emmett/peer.js "$@"
}

# disintegrate

install_disintegrate() {
    require_rust
    require_build_tools
    say "Building disintegrate into $DISINTEGRATE"
    cargo build --release --locked --manifest-path benches/peers/disintegrate/Cargo.toml \
        --target-dir "$DISINTEGRATE" >&2
}

run_disintegrate() {
    "$DISINTEGRATE/release/peer-disintegrate" "$@"
}

# What all peers need.

require_psql() {
    have psql && return
    say "Installing psql"
    apt_install postgresql-client || die "psql is needed. Ask an administrator for: apt-get install postgresql-client"
}

# What isn't durable is not measured.
require_durable() { # url
    local setting value
    for setting in fsync synchronous_commit full_page_writes; do
        value="$(sql "$1" "SHOW $setting")" || die "the server cannot be asked"
        [ "$value" = on ] || die "$setting is $value: what isn't durable is not measured"
    done
}

# Runs a command with --url of a database that is empty before and gone afterwards.
in_a_database() { # url name command…
    local url="$1" name="$2" result=0
    shift 2
    sql "$url" "DROP DATABASE IF EXISTS $name WITH (FORCE)" && sql "$url" "CREATE DATABASE $name" || return 1
    "$1" --url "$(with_database "$url" "$name")" "${@:2}" || result=$?
    sql "$url" "DROP DATABASE $name" || result=1
    return "$result"
}

with_database() { # url name
    case "$1" in
        postgres://* | postgresql://*) sed -E "s|^([a-z]+://[^/?]*)(/[^?]*)?|\1/$2|" <<<"$1" ;;
        # Of two pairs with the same key the last counts.
        *) echo "$1 dbname=$2" ;;
    esac
}

sql() { # url statement
    PGOPTIONS='--client-min-messages=warning' psql -XAtq --dbname "$1" --command "$2"
}

main "$@"
