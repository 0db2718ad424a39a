"""The service in Python: who calls, in which organization, with which role.

Debian's python3-jwt and python3-psycopg2, and the standard library.
"""

import json
import os
import sys
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import psycopg2

SERVICE = "reports"  # its JWT template in Clerk, and the audience of its tokens
TEMPLATE = "cl_B7d4PD222AAA"  # the header `cat` of a token made from a JWT template
LEEWAY = 5  # seconds that the clocks of Clerk and of this machine may be apart

# The role is that of the synced row and not that of the token: a removed member is out
# at the next request, whatever the token still says.
CALLER = """
    SELECT u.clerk_id, u.name, o.clerk_id, o.name, m.role
    FROM clerk.org_memberships m
    JOIN clerk.users u ON u.id = m.user_id
    JOIN clerk.organizations o ON o.clerk_id = m.org_id
    WHERE u.clerk_id = %s AND m.org_id = %s AND NOT u.banned AND NOT u.deprovisioned"""


class Problem(Exception):
    """An answer that is an error: application/problem+json (RFC 9457)."""

    def __init__(self, status, code, detail):
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def refuse(code, detail):
    return Problem(401, code, detail)


def from_token(headers):
    """Returns who calls, from a token that Clerk signed for this service.

    PyJWT checks the signature, the issuer, that the required claims are there, and the
    times. The category and the audience are checked here, because a token of the wrong
    kind has no audience, and the answer should say what to send.
    """
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise refuse("token_missing", 'Send the token in the header "Authorization: Bearer …".')
    try:
        # Naming the one algorithm keeps "none" out, and HS256 with the public key as its
        # secret. PyJWT does not miss a claim that is not required: exp above all.
        claims = jwt.decode(
            token,
            os.environ["CLERK_JWT_KEY"],
            algorithms=["RS256"],
            issuer=os.environ["CLERK_FRONTEND_API_URL"],
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "nbf", "iss", "sub"], "verify_aud": False},
        )
    except jwt.ExpiredSignatureError:
        raise refuse("token_expired", "The token is expired: get a new one.")
    except jwt.InvalidIssuerError:
        raise refuse("token_invalid", "The token has another issuer: compare CLERK_FRONTEND_API_URL.")
    except (jwt.InvalidTokenError, ValueError):
        raise refuse("token_invalid", "This is no valid token of this Clerk instance: compare CLERK_JWT_KEY.")
    header = jwt.get_unverified_header(token)  # verified by now: the signature covers it

    # A session token is good for the whole backend, and one for another service is good
    # there: this service could call them in the user's name.
    audience = claims.get("aud")
    if header.get("cat") != TEMPLATE or SERVICE not in (audience if isinstance(audience, list) else [audience]):
        raise refuse("audience_mismatch",
                     f"This is not a token of JWT template '{SERVICE}': send that of getToken({{template: '{SERVICE}'}}), "
                     f'made with {{"aud": "{SERVICE}"}} in Clerk\'s dashboard → JWT templates.')
    # The page that asked for the token. A token that was made through the Backend API, as
    # the gateway's are, has no azp.
    if claims.get("azp") and claims["azp"] not in os.environ["CLERK_AUTHORIZED_PARTIES"].split(","):
        raise refuse("token_invalid", "The token was made for another origin: compare CLERK_AUTHORIZED_PARTIES.")
    return claims["sub"], claims.get("org_id")


def from_headers(headers):
    """Returns who calls behind a proxy that asked clerksync (nginx.conf, Caddyfile).

    Whoever can connect to this service can send these headers: only the proxy may reach it.
    """
    if not headers.get("X-Clerk-User-Id"):
        raise refuse("token_missing", "This service is reached through the gateway only.")
    return headers["X-Clerk-User-Id"], headers.get("X-Clerk-Org-Id")


IDENTITY = from_headers if os.environ.get("IDENTITY") == "headers" else from_token


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # seconds for a request to arrive

    def do_GET(self):
        try:
            if self.path != "/":
                raise Problem(404, "not_found", "There is only GET /.")
            user_id, org_id = IDENTITY(self.headers)
            if not org_id:
                raise Problem(403, "org_not_selected",
                              "No organization is selected: choose one first (setActive in the browser).")
            self.answer(200, "application/json", caller(user_id, org_id))
        except Problem as p:
            self.answer(p.status, "application/problem+json",
                        {"title": HTTPStatus(p.status).phrase, "status": p.status, "code": p.code, "detail": p.detail})

    def answer(self, status, content_type, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        """Logs nothing of a request."""


def caller(user_id, org_id):
    """Reads the caller's row. One connection per request: with traffic, put a pool here."""
    try:
        with closing(psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=5)) as database:
            database.set_session(readonly=True, autocommit=True)
            with database.cursor() as cursor:
                cursor.execute("SET statement_timeout = '2s'")
                cursor.execute(CALLER, (user_id, org_id))
                row = cursor.fetchone()
    except psycopg2.Error as error:
        print(f"{SERVICE}: {type(error).__name__} {error.pgcode or ''}", file=sys.stderr)  # no message: it can hold data
        raise Problem(500, "internal", "The service failed: see its log.")
    if row is None:
        raise Problem(403, "not_a_member", "The caller is not, or no longer, a member of this organization, or is banned.")
    return {
        "service": SERVICE,
        "user": {"id": row[0], "name": row[1]},
        "organization": {"id": row[2], "name": row[3]},
        "role": row[4],
    }


if __name__ == "__main__":
    needed = ["CLERK_JWT_KEY", "CLERK_FRONTEND_API_URL", "CLERK_AUTHORIZED_PARTIES"] if IDENTITY is from_token else []
    for name in ["DATABASE_URL", *needed]:
        if not os.environ.get(name):
            sys.exit(f"{SERVICE}: set {name}")
    server = ThreadingHTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "4002"))), Handler)
    print(f"{SERVICE}: http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
