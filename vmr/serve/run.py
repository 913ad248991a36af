"""`vmr serve`: bind, load, serve until a signal."""

import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import uvicorn

from vmr.errors import ConfigError
from vmr.locate.settings import LocatorSettings
from vmr.serve.app import Page, build_app
from vmr.serve.connections import bounded, make_room
from vmr.serve.guard import access_for, full, is_loopback
from vmr.serve.limits import Limits, Listening
from vmr.storage.files import default_cache

log = logging.getLogger(__name__)

_GRACE_SEC = 5
_TOKEN_CHARS = 16


def serve(
    *,
    videos: Sequence[Path],
    opened: LocatorSettings,
    listening: Listening,
    limits: Limits,
    announce: Callable[[str], None],
) -> None:
    """Serve the page until a signal ends it.

    Args:
        announce: receives the address once the server can be reached.

    Raises:
        ConfigError: the address cannot be used, the token is too short, or a folder does not exist.
        CheckpointError, FeatureError: see `LocatorSettings.open`.
    """
    host, token = listening.host, listening.token
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    if token is not None and (len(token) < _TOKEN_CHARS or not token.isascii() or not token.isprintable()):
        raise ConfigError(f"--token: expected at least {_TOKEN_CHARS} letters, digits or signs. Choose another one.")
    most, queue = make_room(limits.connections)
    bound = listen(host, listening.port)
    try:
        locator = opened.open()
        folder = (opened.cache or default_cache()) / "uploads"
        page = Page(locator, folders=videos, uploads=folder, limits=limits)
        found = bound.getsockname()[1]
        app = build_app(page, access_for(host, port=found, token=token, names=listening.allow_host))
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,  # it would keep the token of the first address
            server_header=False,
            http=bounded(most=most, head_sec=limits.head_sec, silence_sec=limits.idle_sec, full=full),
            backlog=queue,
            ws="none",
            timeout_graceful_shutdown=_GRACE_SEC,
        )
        announce(address(host, found, token))
        try:
            uvicorn.Server(config).run(sockets=[bound])
        except KeyboardInterrupt:
            log.info("ended")
    finally:
        bound.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"--host {host}: expected an address of this machine ({error.strerror}).") from error
    try:
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(where, family=family, dualstack_ipv6=both)
    except OSError as error:
        raise ConfigError(
            f"{host}, port {port}: cannot be used ({os.strerror(error.errno or 0)}). Choose another with --port; 0 is "
            "any free port."
        ) from error


def address(host: str, port: int, token: str | None) -> str:
    """The address for a browser; with the machine's name where the server listens on all its addresses."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={quote(token, safe='')}" if token is not None else "")
