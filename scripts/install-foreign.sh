#!/usr/bin/env bash
# The servers that tests talk to and that others wrote, each into a Python environment of its own under target/foreign/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# Which server, and the module it is: tests/foreign/<server>/requirements.txt names the rest.
install() {
    local venv="$TARGET_DIR/foreign/$1" module="$2" wanted="tests/foreign/$1/requirements.txt"
    # The copy is made last, so half an installation is begun anew.
    cmp -s "$wanted" "$venv/installed.txt" && "$venv/bin/python" -c "import $module" 2>/dev/null && return
    have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null || {
        say "Installing Python"
        apt_install python3 python3-venv || die "the servers of the tests need Python with venv. \
Ask an administrator for: apt-get install python3 python3-venv"
    }
    say "Installing $module into $venv"
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$wanted" >&2 ||
        die "$module could not be fetched from the package index; PIP_INDEX_URL names another one."
    cp "$wanted" "$venv/installed.txt"
}

install smtp aiosmtpd
install openid oidc_provider_mock
