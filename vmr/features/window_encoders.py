"""What turns the pieces of one video's padded sequence into features, whatever the network."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vmr.errors import FeatureError
from vmr.features.clips import windows_of
from vmr.features.i3d import TEMPORAL_STRIDE

log = logging.getLogger(__name__)


@runtime_checkable
class Encoder(Protocol):
    """What turns the pieces of one video's padded sequence into features."""

    def push(self, slab: UInt8[Tensor, "T H W 3"], *, last: bool) -> Float[Tensor, "n D"]:
        """Take the next piece, on the device; give the steps that are complete now."""


class Stream(Protocol):
    """One pass over a video, fed piece by piece."""

    def push(self, video: Float[Tensor, "1 3 T H W"], *, last: bool) -> Float[Tensor, "n D"]:
        """Take the next frames; give the steps that are complete now."""

    def state(self) -> Any:
        """Where the pass is; tensors in it are never changed later."""

    def go_back(self, state: Any) -> None:
        """Forget what was pushed since `state`."""


class WindowEncoder:
    """Each window through the network by itself, several at once; fewer where a card's memory ends.

    Args:
        run: features of clips of bytes on the device.
        apart: frames between the beginnings of two windows in a piece, at most a window.
        shrink: told a smaller number of windows at once, for the next videos.
    """

    def __init__(
        self,
        run: Callable[[UInt8[Tensor, "B 3 T H W"]], Float[Tensor, "B D"]],
        *,
        window: int,
        apart: int,
        batch_size: int,
        shrink: Callable[[int], None],
        name: str,
    ) -> None:
        self._run, self._shrink, self._name = run, shrink, name
        self._window, self._apart, self._batch_size = window, apart, batch_size

    def push(self, slab: UInt8[Tensor, "T H W 3"], *, last: bool) -> Float[Tensor, "n D"]:
        """See `Encoder`."""
        del last
        windows = windows_of(slab, window=self._window, stride=self._apart)
        parts: list[Tensor] = []
        done = 0
        while done < len(windows):
            batch = windows[done : done + self._batch_size]
            try:
                parts.append(self._run(batch))
            except torch.cuda.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise FeatureError(
                        f"{self._name}: one window does not fit the memory of {slab.device}. Free the device, "
                        "or set `device: cpu`."
                    ) from error
                self._batch_size = len(batch) // 2
                self._shrink(self._batch_size)
                torch.cuda.empty_cache()
                log.warning("out of device memory: going on with %d windows at once", self._batch_size)
                continue
            done += len(batch)
        return torch.cat(parts)


class StreamEncoder:
    """I3D over a video in pieces that follow one another without overlap; halved where a card's memory ends.

    Args:
        prepare: clips of bytes as the network's input.
        context: in which all of it runs.
        shrink: called when a piece had to be halved, so that the next videos come in smaller ones.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        prepare: Callable[[UInt8[Tensor, "1 3 T H W"]], Float[Tensor, "1 3 T H W"]],
        context: Callable[[], AbstractContextManager[None]],
        shrink: Callable[[], None],
        name: str,
    ) -> None:
        self._stream, self._prepare, self._context, self._shrink = stream, prepare, context, shrink
        self._name = name

    def push(self, slab: UInt8[Tensor, "T H W 3"], *, last: bool) -> Float[Tensor, "n D"]:
        """See `Encoder`."""
        state = self._stream.state()
        try:
            with self._context():
                return self._stream.push(self._prepare(slab.permute(3, 0, 1, 2)[None]), last=last).float()
        except torch.cuda.OutOfMemoryError as error:
            half = len(slab) // 2
            half -= half % TEMPORAL_STRIDE
            if not half:
                raise FeatureError(
                    f"{self._name}: a piece of {len(slab)} frames does not fit the memory of {slab.device}. Free the "
                    "device, or set `device: cpu`."
                ) from error
        # Outside of the handler, whose traceback would keep the tensors of the failed attempt.
        self._stream.go_back(state)
        self._shrink()
        torch.cuda.empty_cache()
        log.warning("out of device memory: going on with pieces of %d frames", half)
        return torch.cat([self.push(slab[:half], last=False), self.push(slab[half:], last=last)])
