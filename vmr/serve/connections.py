"""Bounds on connections: so many at once, none of which may stand idle, within the system's limit of open files."""

import asyncio
import resource
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from vmr.errors import ConfigError

_FILES = 1 << 16  # open files that are asked for, where the system allows so many
_OWN_FILES = 200  # of the server itself: models, libraries, pipes of decoders
_FEWEST = 16
_LOOK_SEC = 1.0


def make_room(most: int) -> tuple[int, int]:
    """Raise the limit of open files of this process; connections that fit into it, and how many may wait in a queue.

    Each connection may hold a file besides itself, and all that wait are opened at once before one is looked at.

    Args:
        most: connections that are wanted.

    Raises:
        ConfigError: the limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = _FILES if soft == resource.RLIM_INFINITY else soft
    queue = min(512, files // 8)
    fit = (files - queue - _OWN_FILES) // 2
    if fit < _FEWEST:
        raise ConfigError(f"only {files} files may be open: raise the limit (`ulimit -n 4096`) and start again.")
    return min(most, fit), queue


class Bounded(H11Protocol):
    """A connection; `bounded` makes the class with its bounds."""

    most: int
    head_sec: float
    silence_sec: float
    full: ASGIApp

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **others: Any) -> None:
        super().__init__(config, server_state, app_state, **others)
        self._since = 0.0  # when the wait for the next head began, or when something last came or went
        self._unsent = 0
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; beyond the bound only to say so, and far beyond it not at all."""
        super().connection_made(transport)
        if len(self.connections) > self.most + self.most // 4:
            transport.abort()
            return
        if len(self.connections) > self.most:
            self.app = self.full
        self._since = self.loop.time()
        self._look = self.loop.call_later(_LOOK_SEC, self._end_if_idle)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        was_waiting = self._waits_for_head()
        super().data_received(data)
        if not (was_waiting and self._waits_for_head()):  # byte after byte of a head is no progress
            self._since = self.loop.time()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()

    def _waits_for_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _end_if_idle(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._since = unsent, self.loop.time()
        idle = self.loop.time() - self._since
        if self._waits_for_head():
            over = idle > self.head_sec
        else:  # an answer that takes long is no idleness of the visitor's
            over = idle > self.silence_sec and (self.cycle.more_body or unsent > 0)
        if over:
            self.transport.abort()
        else:
            self._look = self.loop.call_later(_LOOK_SEC, self._end_if_idle)


def bounded(*, most: int, head_sec: float, silence_sec: float, full: ASGIApp) -> type[Bounded]:
    """The protocol of a server.

    Args:
        most: connections at once; a quarter more are told that it is full.
        head_sec: in which the head of a request must be complete.
        silence_sec: in which a visitor must send or take something.
        full: answers those beyond the bound.
    """
    bounds = {"most": most, "head_sec": head_sec, "silence_sec": silence_sec, "full": staticmethod(full)}
    return type("BoundedConnection", (Bounded,), bounds)
