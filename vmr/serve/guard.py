"""Who may ask: checks of the host name, the asking page and the token; and headers that restrict the browser."""

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READING = ("GET", "HEAD")
_BOUND = {
    # Nothing from outside, no inline code, no frames, no forms: code in a name or a file stays text.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Access:
    """The names of the server, and the token that visitors need."""

    hosts: frozenset[str]  # names by which visitors may call it
    any_address: bool = False  # whether they may also use any numeric address
    token: str | None = None  # that visitors must show; None where only this machine reaches the server
    cookie: str = "vmr"  # name of the cookie that replaces the token

    def knows(self, host: str) -> bool:
        """Whether a `Host` header names this server.

        A page elsewhere can let its own name point here (DNS rebinding), but never a numeric address.
        """
        name = host_name(host)
        return name is not None and (name in self.hosts or (self.any_address and _is_address(name)))

    def cookie_value(self) -> str:
        """The value of the cookie; not the token, since other servers on this machine receive the cookie too."""
        assert self.token is not None
        return hmac.new(self.token.encode(), b"vmr serve", "sha256").hexdigest()


def access_for(host: str, *, port: int, token: str | None, names: Iterable[str] = ()) -> Access:
    """Access to a server that listens on a host's address."""
    here, own = is_loopback(host), socket.gethostname()
    known = ("127.0.0.1", "::1") if here else (own, f"{own}.local", socket.getfqdn())
    hosts = frozenset(name.lower() for name in ("localhost", host, *known, *names))
    return Access(hosts, not here, token, f"vmr-{port}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def host_name(host: str) -> str | None:
    """Name in a `Host` header, without the port, in lower case; None where there is no valid name.

    >>> host_name("Localhost:8000"), host_name("[::1]:8000"), host_name("a@b"), host_name("a b")
    ('localhost', '::1', None, None)
    """
    if not host or any(letter in host for letter in "@/\\?# "):
        return None
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class Guard:
    """Middleware around all answers, including errors and static files."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_BOUND)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self.app)(scope, receive, bound)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self.access.knows(host):
            return _refused(
                request, 421, "This server is not called by that name. Start it with --allow-host NAME to allow it."
            )
        if request.method not in _READING and not _same_origin(request.headers, host):
            return _refused(request, 403, "This request came from another page. Open the server's own page.")
        if self.access.token is None:
            return None
        given = request.query_params.get("token")
        if given is not None and request.url.path == "/" and _same(given, self.access.token):
            response = RedirectResponse("/", 303)
            # Lax: the address with the token is opened from a mail or a chat.
            response.set_cookie(
                self.access.cookie,
                self.access.cookie_value(),
                httponly=True,
                samesite="lax",
                secure=request.url.scheme == "https",
            )
            return response
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        cookie = request.cookies.get(self.access.cookie, "")
        if scheme.lower() == "bearer" and _same(bearer.strip(), self.access.token):
            return None
        if _same(cookie, self.access.cookie_value()):
            return None
        message = "This page needs a token: open the whole address that `vmr serve` printed."
        return _refused(request, 401, message, {"www-authenticate": "Bearer"})


async def full(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell a visitor that there are too many."""
    assert scope["type"] == "http"
    message = "Too many visitors at once. Try again in a minute."
    await _refused(Request(scope), 503, message, {"retry-after": "60", "connection": "close"})(scope, receive, send)


def _same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is None:  # no browser, or an old one
        return headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refused(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": message}, status, headers)
    # `message` is ours, never the visitor's.
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>vmr</title><p>{message}</p></html>\n'
    return HTMLResponse(page, status, headers)
