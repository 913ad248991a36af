"""How near extraction comes to what its network alone takes on this machine."""

import logging
import time
from collections.abc import Sequence

import numpy as np
import torch

from vmr.features.extractors import Extractor
from vmr.machine.use_log import log_share

log = logging.getLogger(__name__)

_TRIAL_SHARE = 0.02  # of the shard's frames, at most, go into the trial
_TRIAL_SEC = 1.0
_TELL_SEC = 60.0
_HELD_UP = "reading frames cannot keep up with the network, give the job more cores"


class Pace:
    """Frames a second of a shard, beside those of the network with a piece in memory; logged once a minute.

    The trial comes before any reader starts. The time in which the network waits would not do: on an H200 it waited
    for 15 % of it, with a tenth of its speed, since threads that read hold up the one that starts its kernels.

    Args:
        lengths: frames of each video. Where they are too few for the trial, nothing is measured or told.
    """

    def __init__(self, extractor: Extractor, lengths: Sequence[int]) -> None:
        self._alone = _frames_per_sec_alone(extractor, lengths)
        self._frames, self._began = 0, time.perf_counter()
        self._told = self._began

    def took(self, frames: int) -> None:
        """Count the frames of a piece that the network took."""
        self._frames += frames
        if time.perf_counter() - self._told > _TELL_SEC:
            self.tell()

    def tell(self) -> None:
        """Log the share so far."""
        self._told = time.perf_counter()
        seconds = self._told - self._began
        if self._alone and seconds:
            log_share(self._frames / seconds / self._alone, seconds=seconds, held_up=_HELD_UP)


def _frames_per_sec_alone(extractor: Extractor, lengths: Sequence[int]) -> float | None:
    most = _TRIAL_SHARE * sum(lengths)
    length = min(extractor.window + extractor.stride * extractor.batch_size, int(np.median(lengths)) if lengths else 0)
    if not 0 < 2 * length <= most:
        return None
    picture = extractor.cropped(np.random.default_rng(0).integers(0, 256, (1, 256, 320, 3), dtype=np.uint8))
    plan = extractor.plan(length)
    piece = next(iter(extractor.pieces([np.repeat(picture, length, axis=0)], plan, cropped=True)))
    slab, encoder = torch.from_numpy(piece).to(extractor.device), extractor.encoder(plan)
    encoder.push(slab, last=False).cpu()  # the first one also prepares
    pushed, began, seconds = 0, time.perf_counter(), 0.0
    while not pushed or (seconds < _TRIAL_SEC and pushed + 2 * len(slab) <= most):
        encoder.push(slab, last=False).cpu()
        pushed, seconds = pushed + len(slab), time.perf_counter() - began
    log.info("the network alone takes %.0f frames a second", pushed / seconds)
    return pushed / seconds
