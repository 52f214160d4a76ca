#!/usr/bin/env python3
"""A mail server that others wrote (aiosmtpd), for tests of mail: it takes letters only after TLS and a login.

Letters are files in a Maildir. It says "ready" once it listens, and ends with its standard input.
"""

import argparse
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls", choices=["starttls", "from-the-first-byte"], required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--maildir", required=True)
    options = parser.parse_args()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)

    def knows(server, session, envelope, mechanism, login):
        right = (options.user.encode(), options.password.encode())
        # "Not handled": aiosmtpd answers, also a refusal.
        return AuthResult(success=(login.login, login.password) == right, handled=False)

    if options.tls == "starttls":
        tls = {"tls_context": context, "require_starttls": True}
    else:
        # aiosmtpd takes "requires TLS" to mean STARTTLS; here nobody gets in without TLS anyway.
        tls = {"ssl_context": context, "auth_require_tls": False}
    controller = Controller(
        Mailbox(options.maildir),
        hostname="127.0.0.1",
        port=options.port,
        authenticator=knows,
        auth_required=True,
        **tls,
    )
    controller.start()
    print("ready", flush=True)
    sys.stdin.read()
    controller.stop()


main()
