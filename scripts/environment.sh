# What the other scripts share; sourced, not run. They begin in the repository's root, whatever directory make was
# called from.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

export AWS_LC_SYS_USE_SYSTEM=0
RUST_MINIMUM=1.95
PG_MINIMUM=14

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Without a terminal there are no escape sequences.
if [ ! -t 2 ]; then
    say() { printf '==> %s\n' "$*" >&2; }
fi

# The same as default_data_dir() in the crate cluster; exported, so that everything started from here agrees.
default_data_dir() {
    if [ "$(id -u)" -eq 0 ]; then
        echo /var/lib/tenantry
    else
        echo "${XDG_DATA_HOME:-${HOME:-/var/tmp}/.local/share}/tenantry"
    fi
}
: "${TENANTRY_DATA_DIR:=$(default_data_dir)}"
export TENANTRY_DATA_DIR

# Tools that cargo installs are found also when the shell's profile does not name their directory.
CARGO_BIN="${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
case ":$PATH:" in
    *":$CARGO_BIN:"*) ;;
    *) PATH="$CARGO_BIN:$PATH" ;;
esac
export PATH

# An ordinary user's soft limit (1,024) is too low for a server with many clients; its hard limit is ours to use.
ulimit -S -n "$(ulimit -H -n)" 2>/dev/null || true

# Where cargo puts what it builds.
TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

# AS_ROOT holds what must stand before a command that needs root; false when there is no way.
can_be_root() {
    AS_ROOT=()
    [ "$(id -u)" -eq 0 ] && return 0
    have sudo && sudo -n true 2>/dev/null && AS_ROOT=(sudo -n) && return 0
    return 1
}

apt_install() {
    have apt-get || return 1
    can_be_root || return 1
    local install=("${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@")
    # The lists of a fresh machine may be absent or too old for what the mirror still holds.
    "${install[@]}" >&2 || { "${AS_ROOT[@]}" apt-get update >&2 && "${install[@]}" >&2; }
}

version_at_least() { # version minimum
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

require_rust() {
    have cargo || die "cargo was not found. Install Rust $RUST_MINIMUM or newer (https://rustup.rs) and try again."
    local version
    version="$(rustc --version | cut -d' ' -f2)"
    version_at_least "$version" "$RUST_MINIMUM" ||
        die "Rust $version is too old; $RUST_MINIMUM or newer is needed (rustup update stable)."
}

# A compiler and libc's headers, which AWS-LC and others are built with.
require_build_tools() {
    can_compile && return 0
    say "Installing a C compiler and libc's headers"
    apt_install gcc g++ libc6-dev make ||
        die "a C compiler with libc's headers is needed, and installing it takes root or sudo. \
Ask an administrator for: apt-get install gcc g++ libc6-dev"
    can_compile || die "the installed C compiler cannot build a program; see: echo 'int main(void){}' | cc -x c -"
}

can_compile() {
    local compiler="${CC:-cc}"
    have "$compiler" && printf '#include <stdlib.h>\nint main(void) { return abs(0); }\n' |
        "$compiler" -x c -o /dev/null - >/dev/null 2>&1
}
