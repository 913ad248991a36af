"""What turns the pieces of one video's padded sequence into features, whatever the network."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vmr.errors import FeatureError
from vmr.features.clips import windows_of
from vmr.features.i3d import TEMPORAL_STRIDE
from vmr.features.shared_windows import SharedWindows
from vmr.features.streaming import StreamingFeatures

if TYPE_CHECKING:
    from vmr.features.extractors import Extractor

log = logging.getLogger(__name__)


class WindowEncoder:
    """Each window through the network by itself, several at once; fewer where a card's memory ends, for the next videos
    too.
    """

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    def push(self, slab: UInt8[Tensor, "T H W 3"], *, last: bool) -> Float[Tensor, "n D"]:
        """Take the next piece, on the device; give the steps that are complete now."""
        del last
        net = self._extractor
        windows = windows_of(slab, window=net.window, stride=net.apart)
        parts: list[Tensor] = []
        done = 0
        while done < len(windows):
            batch = windows[done : done + net.batch_size]
            try:
                parts.append(net.run(batch))
            except torch.cuda.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise FeatureError(
                        f"{net.name}: one window does not fit the memory of {slab.device}. Free the device, "
                        "or set `device: cpu`."
                    ) from error
                net.batch_size = len(batch) // 2
                torch.cuda.empty_cache()
                log.warning("out of device memory: going on with %d windows at once", net.batch_size)
                continue
            done += len(batch)
        return torch.cat(parts)


class StreamEncoder:
    """I3D over a video in pieces that follow one another without overlap; halved where a card's memory ends, and then
    those of the next videos are smaller, too.
    """

    def __init__(self, extractor: Extractor, stream: StreamingFeatures | SharedWindows) -> None:
        self._extractor, self._stream = extractor, stream

    def push(self, slab: UInt8[Tensor, "T H W 3"], *, last: bool) -> Float[Tensor, "n D"]:
        """Take the next piece, on the device; give the steps that are complete now."""
        net, state = self._extractor, self._stream.state()
        try:
            with net.inference():
                return self._stream.push(net.normalised(slab.permute(3, 0, 1, 2)[None]), last=last).float()
        except torch.cuda.OutOfMemoryError as error:
            half = len(slab) // 2
            half -= half % TEMPORAL_STRIDE
            if not half:
                raise FeatureError(
                    f"{net.name}: a piece of {len(slab)} frames does not fit the memory of {slab.device}. Free the "
                    "device, or set `device: cpu`."
                ) from error
        # Outside of the handler, whose traceback would keep the tensors of the failed attempt.
        self._stream.go_back(state)
        net.batch_size = max(net.batch_size // 2, 1)
        torch.cuda.empty_cache()
        log.warning("out of device memory: going on with pieces of %d frames", half)
        return torch.cat([self.push(slab[:half], last=False), self.push(slab[half:], last=last)])
