#!/usr/bin/env bash
# The README's first five minutes, with checks. Starts nothing: a server must run (make run), and TENANTRY_DATA_DIR must be
# its data directory unless that is the default one. TENANTRY_URL names it if it does not listen on 127.0.0.1:8080;
# TENANTRY_BIN is the directory of the binaries if that is not target/release.
#
# A test holds that every line the README shows stands here, in the same order.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n==> %s\n' "$*"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }
expect() { # what, found, wanted
    [ "$2" = "$3" ] || fail "$1: expected '$3', found '$2'"
    printf '\n    %s: %s\n' "$1" "$2"
}
# The status of a request; the same arguments as curl's.
status() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
# Asks again for up to ten seconds, as a read model follows the journal at its own pace.
eventually() { # what, wanted, command…
    local what="$1" wanted="$2" found attempt
    shift 2
    for attempt in $(seq 100); do
        found="$("$@" || true)"
        if [ "$found" = "$wanted" ]; then
            printf '\n    %s: %s\n' "$what" "$found"
            return
        fi
        sleep 0.1
    done
    fail "$what: expected '$wanted', found '$found' for ten seconds"
}

export PATH="$PWD/target/release:$PATH"
export PATH="${TENANTRY_BIN:-$PWD/target/release}:$PATH"
URL="${TENANTRY_URL:-http://127.0.0.1:8080}"
RUN="$RANDOM$RANDOM"
field() { grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

step "Is a server there?"
eventually "GET /ready" 200 status "$URL/ready"

step "Tokens from the running server's local socket"
OPERATOR="Authorization: Bearer $(tenantry token --role operator)"
DEVELOPER="Authorization: Bearer $(tenantry token --role developer)"
expect "a stranger's list of tenants" "$(status "$URL/api/operator/tenants")" 401
expect "a developer's list of tenants" "$(status -H "$DEVELOPER" "$URL/api/operator/tenants")" 403

step "Register an application and issue a key for it"
APPLICATION="$(curl -s -H "$DEVELOPER" --json "{\"name\": \"Shop $RUN\", \"environment\": \"production\"}" "$URL/api/developer/applications" | field id)"
KEY="Authorization: Bearer $(curl -s -H "$DEVELOPER" --json '{"scopes": ["flag:read"]}' "$URL/api/developer/applications/$APPLICATION/keys" | field key)"
[ "${#KEY}" -gt 40 ] || fail "the answer holds no key"

step "Provision a tenant"
TENANT="$(curl -s -H "$OPERATOR" --json "{\"name\": \"Acme\", \"domain\": \"acme-$RUN.example\", \"plan\": \"pro\", \"owner_email\": \"ann@acme-$RUN.example\", \"application\": {\"id\": \"$APPLICATION\"}}" "$URL/api/operator/tenants" | field id)"
provisioning() { curl -s -H "$OPERATOR" "$URL/api/operator/tenants/$TENANT" | field provisioning_status; }
eventually "provisioning" completed provisioning
curl -s -w '\n' -H "$OPERATOR" "$URL/api/operator/tenants/$TENANT"
expect "the same domain again" "$(status -H "$OPERATOR" --json "{\"name\": \"Copy\", \"domain\": \"acme-$RUN.example\", \"plan\": \"free\", \"owner_email\": \"bob@acme-$RUN.example\", \"application\": {\"id\": \"$APPLICATION\"}}" "$URL/api/operator/tenants")" 409

step "Set a flag and poll it"
curl -s -w '\n' -X PUT -H "$OPERATOR" --json '{"value": true}' "$URL/api/operator/tenants/$TENANT/flags/new-checkout"
flag() { curl -s -H "$KEY" "$URL/api/v1/flags?tenant=$TENANT" | grep -c 'new-checkout'; }
eventually "polls that show the flag" 1 flag
HEADERS="$(mktemp)"
trap 'rm -f "$HEADERS"' EXIT
curl -s -w '\n' -D "$HEADERS" -H "$KEY" "$URL/api/v1/flags?tenant=$TENANT"
ETAG="$(grep -i '^etag:' "$HEADERS" | cut -d ' ' -f 2 | tr -d '\r')"
curl -s -o /dev/null -w '%{http_code}\n' -H "$KEY" -H "If-None-Match: $ETAG" "$URL/api/v1/flags?tenant=$TENANT"
expect "a poll with the ETag" "$(status -H "$KEY" -H "If-None-Match: $ETAG" "$URL/api/v1/flags?tenant=$TENANT")" 304

step "Suspend the tenant: the application is denied; reactivate it: it is served"
curl -s -w '\n' -H "$OPERATOR" --json '{"reason": "unpaid invoices"}' "$URL/api/operator/tenants/$TENANT/suspend"
poll() { status -H "$KEY" "$URL/api/v1/flags?tenant=$TENANT"; }
eventually "a poll of the suspended tenant" 403 poll
curl -s -w '\n' -H "$KEY" "$URL/api/v1/flags?tenant=$TENANT"
curl -s -w '\n' -H "$OPERATOR" --json '{"reason": "paid"}' "$URL/api/operator/tenants/$TENANT/reactivate"
eventually "a poll of the reactivated tenant" 200 poll
curl -s -w '\n' -H "$KEY" "$URL/api/v1/flags?tenant=$TENANT"

step "Sign in as the owner, whom provisioning invited by mail"
DATA="${TENANTRY_DATA_DIR:-$(test "$(id -u)" = 0 && echo /var/lib/tenantry || echo "${XDG_DATA_HOME:-$HOME/.local/share}/tenantry")}"
mailed() { grep -l "ann@acme-$RUN.example" "$DATA"/mail/*.eml | wc -l | tr -d ' '; }
eventually "mails to the owner" 1 mailed
INVITATION="$(cat "$DATA"/mail/*.eml | tr -d ' \r' | grep -xE '[A-Za-z0-9_-]{75}' | tail -n 1)"
PASSWORD="correct horse battery staple"
curl -s -w '\n' --json "{\"token\": \"$INVITATION\", \"password\": \"$PASSWORD\"}" "$URL/auth/invitations/accept"
expect "a login with a wrong password" "$(status --json "{\"email\": \"ann@acme-$RUN.example\", \"password\": \"wrong\"}" "$URL/auth/login")" 401
OWNER="Authorization: Bearer $(curl -s --json "{\"email\": \"ann@acme-$RUN.example\", \"password\": \"$PASSWORD\"}" "$URL/auth/login" | field access_token)"
curl -s -w '\n' -H "$OWNER" "$URL/auth/me"
expect "the owner, signed in" "$(status -H "$OWNER" "$URL/auth/me")" 200
curl -s -w '\n' -H "$OWNER" "$URL/api/v1/users/me/sessions"
curl -s -w '%{http_code}\n' -X POST -H "$OWNER" "$URL/auth/logout"
curl -s -w '\n' -H "$OWNER" "$URL/auth/me"
expect "the owner, signed out" "$(status -H "$OWNER" "$URL/auth/me")" 401

step "Rebuild a read model while the server serves, and see the same"
tenant_status() { curl -s -H "$OPERATOR" "$URL/api/operator/tenants/$TENANT" | field status; }
eventually "the tenant's status" trial tenant_status
BEFORE="$(curl -s -H "$OPERATOR" "$URL/api/operator/tenants/$TENANT")"
replay rebuild tenant_directory
AFTER="$(curl -s -H "$OPERATOR" "$URL/api/operator/tenants/$TENANT")"
test "$BEFORE" = "$AFTER" && echo "the same"
[ "$BEFORE" = "$AFTER" ] || fail "the rebuilt directory shows another tenant: $BEFORE | $AFTER"
replay verify
replay inspect "tenant/$TENANT"

step "The audit trail has what was done, and what was refused"
AUDITOR="Authorization: Bearer $(tenantry token --role auditor)"
trail() { curl -s -H "$AUDITOR" "$URL/api/auditor/audit-logs?limit=100" | grep -c 'tenants:suspend'; }
eventually "pages of the trail that show the suspension" 1 trail
curl -s -w '\n' -H "$AUDITOR" "$URL/api/auditor/audit-logs?limit=20"

printf '\nquickstart: all of it worked\n'
