#!/usr/bin/env bash
# The OpenID provider that tests of single sign-on talk to (oidc-provider-mock), into a Python environment of its own under target/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

VENV="$TARGET_DIR/openid-provider"
WANTED=tests/foreign/openid/requirements.txt

# The copy is made last, so half an installation is begun anew.
cmp -s "$WANTED" "$VENV/installed.txt" && "$VENV/bin/python" -c "import oidc_provider_mock" 2>/dev/null && exit 0
have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null || {
    say "Installing Python"
    apt_install python3 python3-venv || die "the OpenID provider of the tests needs Python with venv. \
Ask an administrator for: apt-get install python3 python3-venv"
}
say "Installing oidc-provider-mock into $VENV"
python3 -m venv --clear "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$WANTED" >&2 ||
    die "oidc-provider-mock could not be fetched from the package index; PIP_INDEX_URL names another one."
cp "$WANTED" "$VENV/installed.txt"
