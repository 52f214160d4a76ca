#!/usr/bin/env python3
"""An OpenID provider that others wrote (oidc-provider-mock, on Authlib), for tests of single sign-on.

Whom it knows is told as JSON, one argument each. It says "ready", and its port, once it listens, and ends with its
standard input.
"""

import json
import os
import sys
import threading

# It speaks no TLS: the tests' server is told to allow that.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from oidc_provider_mock import User, app
from werkzeug.serving import make_server


def main() -> None:
    known = [json.loads(argument) for argument in sys.argv[1:]]
    users = [User(sub=claims.pop("sub"), claims=claims) for claims in known]
    server = make_server("127.0.0.1", 0, app(require_nonce=True, user_claims=users), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {server.server_port}", flush=True)
    sys.stdin.read()
    server.shutdown()


main()
