"""A mail server for tests: parses every mail with Python's own email package, and fails as it is told.

Writes one line of JSON at its start, {"port": …}, one for every connection that comes or goes, {"open": …}, and one for every
mail: the envelope, the headers as a mail client decodes them, the parts, what is wrong with the MIME. Everything else on standard
output is no JSON.
"""

import argparse
import asyncio
import email
import email.policy
import json
import signal
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

MAIL_FAILS = "451 4.3.0 no sender now"


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hang", metavar="ADDRESS", help="hang after DATA of its mails, until the signal USR1")
    parser.add_argument("--defer", type=int, default=0, metavar="N", help="answer 451 after DATA, N times")
    parser.add_argument("--defer-sender", type=int, default=0, metavar="N", help="answer 451 to MAIL FROM, N times")
    parser.add_argument("--shut-down", type=int, default=0, metavar="N", help="answer 421 after DATA, N times")
    parser.add_argument("--reject", metavar="ADDRESS", help="answer 550 to RCPT TO")
    parser.add_argument("--drop", type=int, default=0, metavar="N", help="take N mails and close without an answer")
    parser.add_argument("--close-after", type=int, default=0, metavar="N", help="answer 421 to MAIL FROM after N mails, and close")
    parser.add_argument("--most", type=int, default=0, metavar="N", help="greet with 421 beyond N connections")
    parser.add_argument("--certificate", metavar="FILE")
    parser.add_argument("--key", metavar="FILE")
    parser.add_argument("--implicit", action="store_true", help="TLS from the first byte, no STARTTLS")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--dkim", metavar="RECORD", help="verify signatures with this DNS record")
    return parser.parse_args()


class Handler:
    def __init__(self, told):
        self.told = told
        self.hang, self.defer, self.drop, self.shut_down = told.hang, told.defer, told.drop, told.shut_down
        self.defer_sender = told.defer_sender

    async def handle_MAIL(self, server, session, envelope, address, parameters):
        if self.defer_sender > 0:
            self.defer_sender -= 1
            return MAIL_FAILS
        if self.told.close_after and getattr(session, "mails", 0) >= self.told.close_after:
            asyncio.get_running_loop().call_later(0.01, server.transport.close)
            return "421 4.4.2 enough for one connection"
        envelope.mail_from = address
        envelope.mail_options.extend(parameters)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, parameters):
        if address == self.told.reject:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.hang in envelope.rcpt_tos:
            await asyncio.sleep(3600)
        if self.defer > 0:
            self.defer -= 1
            return "451 4.7.1 greylisted, try again"
        if self.shut_down > 0:
            self.shut_down -= 1
            return "421 4.3.2 shutting down"
        self.record(session, envelope)
        session.mails = getattr(session, "mails", 0) + 1
        if self.drop > 0:
            self.drop -= 1
            server.transport.abort()
        return "250 OK"

    def record(self, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        defects = [type(defect).__name__ for defect in mail.defects]
        parts = []
        for part in mail.walk():
            defects += [type(defect).__name__ for defect in part.defects]
            for name in part.keys():
                defects += [f"{name}: {type(defect).__name__}" for defect in getattr(part[name], "defects", ())]
            if not part.is_multipart():
                parts.append({"type": part.get_content_type(), "text": part.get_content()})
        verified = None
        if self.told.dkim:
            import dkim

            verified = dkim.verify(envelope.content, dnsfunc=lambda *_, **__: self.told.dkim.encode())
        say(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "tls": session.ssl is not None or self.told.implicit,
                "user": session.auth_data.login.decode() if getattr(session, "auth_data", None) else None,
                "type": mail.get_content_type(),
                "headers": [[name, str(value)] for name, value in mail.items()],
                "parts": parts,
                "defects": defects,
                "longest": max(map(len, envelope.content.split(b"\r\n"))),
                "ascii": envelope.content.isascii(),
                "verified": verified,
            }
        )


class Server(SMTP):
    """Greets with 421 when there are enough connections."""

    open = 0

    def count(self, change):
        Server.open += change
        say({"open": Server.open})

    def connection_made(self, transport):
        self.count(1)
        most = self.event_handler.told.most
        # STARTTLS comes here again with the same connection.
        if most and Server.open > most:
            transport.write(b"421 4.7.0 too many connections\r\n")
            transport.close()
            self.refused = True
            return
        super().connection_made(transport)

    def connection_lost(self, error):
        self.count(-1)
        if not getattr(self, "refused", False):
            super().connection_lost(error)


def say(what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main():
    told = options()
    context = None
    if told.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(told.certificate, told.key)

    def authenticate(server, session, envelope, mechanism, data):
        right = isinstance(data, LoginPassword) and data == LoginPassword(told.user.encode(), told.password.encode())
        return AuthResult(success=right, auth_data=data if right else None, handled=False)

    handler = Handler(told)

    def protocol():
        return Server(
            handler,
            enable_SMTPUTF8=True,
            tls_context=None if told.implicit else context,
            require_starttls=bool(context) and not told.implicit,
            auth_required=bool(told.user),
            auth_require_tls=not told.implicit,
            authenticator=authenticate if told.user else None,
        )

    def hang_no_more():
        handler.hang = None

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, hang_no_more)
    listening = await loop.create_server(
        protocol, "127.0.0.1", told.port, ssl=context if told.implicit else None, backlog=200
    )
    say({"port": listening.sockets[0].getsockname()[1]})
    await listening.serve_forever()


asyncio.run(main())
