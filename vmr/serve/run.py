"""`vmr serve`: bind, load, serve until told to end."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import uvicorn

from vmr.errors import ConfigError
from vmr.locate.cache import default_cache
from vmr.locate.locator import Locator
from vmr.serve.app import Page, build_app
from vmr.serve.guard import access_for, is_loopback
from vmr.serve.limits import Limits

log = logging.getLogger(__name__)

_BACKLOG = 512
_GRACE_SEC = 5
_TOKEN_CHARS = 16


def serve(
    *,
    model: Path,
    videos: Path | None,
    announce: Callable[[str], None],
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    names: Sequence[str] = (),
    limits: Limits | None = None,
    cache: Path | None = None,
    device: str = "auto",
    features: Path | None = None,
) -> None:
    """Serve the page until a signal ends it.

    Args:
        model: an exported model.
        videos: folder of videos to offer.
        announce: told the address once the server can be reached.
        host: address to listen on; others than this machine's own need a token.
        port: 0 for any that is free.
        token: what visitors must show; made at random where one is needed and none is given.
        names: more names by which the server may be called.
        limits: see `Limits`.
        cache: folder of features and uploads; None for `default_cache()`.
        device: auto, cpu or cuda.
        features: features at hand, see `Locator`.

    Raises:
        ConfigError: the address cannot be had, the token is too short, or there is no such folder.
        CheckpointError, FeatureError: see `Locator.load`.
    """
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    if token is not None and (len(token) < _TOKEN_CHARS or not token.isascii() or not token.isprintable()):
        raise ConfigError(f"--token: at least {_TOKEN_CHARS} letters, digits or signs were expected.")
    listening = listen(host, port)
    try:
        locator = Locator.load(model, cache=cache, device=device, features=features)
        folder = (cache or default_cache()) / "uploads"
        page = Page(locator, folder=videos, uploads=folder, limits=limits or Limits())
        found = listening.getsockname()[1]
        app = build_app(page, access_for(host, port=found, token=token, names=names))
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,  # it would keep the token of the first address
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=_GRACE_SEC,
        )
        announce(address(host, found, token))
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            log.info("ended")
    finally:
        listening.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Raises:
        ConfigError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {host}: is no address of this machine ({error.strerror}).") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"{host}, port {port}: cannot be had ({error.strerror}). Name another with --port; 0 is any that is free."
        ) from error
    return listening


def address(host: str, port: int, token: str | None) -> str:
    """What to type into a browser; the name of the machine where it listens on all its addresses."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={quote(token, safe='')}" if token is not None else "")
