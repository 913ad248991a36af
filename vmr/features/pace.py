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
_STARVED = "reading frames cannot keep up with the network, give the job more cores"
_SHARED = "other jobs or programs have its cores, too"
_WAITED = 0.1  # on CPUs, of the time: less does not starve a network


class Pace:
    """Frames a second of a shard, beside those of the network with a piece in memory; logged once a minute.

    The trial comes before any reader starts. The time in which the network waits would not do: on an H200 it waited
    for 15 % of it, with a tenth of its speed, since threads that read hold up the one that starts its kernels.

    Args:
        lengths: frames of each video. Where they are too few for the trial, nothing is measured or told.

    Attributes:
        waited: seconds for which the network had no frames.
    """

    def __init__(self, extractor: Extractor, lengths: Sequence[int]) -> None:
        self._on_cpu = extractor.device.type == "cpu"
        self._alone = _frames_per_sec_alone(extractor, lengths)
        self.waited = 0.0
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
            fed = self._on_cpu and self.waited < _WAITED * seconds
            share = self._frames / seconds / self._alone
            log_share(share, seconds=seconds, held_up=_SHARED if fed else _STARVED)


def _frames_per_sec_alone(extractor: Extractor, lengths: Sequence[int]) -> float | None:
    """Of a video of the usual length with its ends, or of a piece in the middle of a longer one."""
    most, usual = _TRIAL_SHARE * sum(lengths), int(np.median(lengths)) if lengths else 0
    longest = extractor.window + extractor.stride * extractor.batch_size
    length, whole = min(longest, usual), usual <= longest
    if not 0 < 2 * length <= most:
        return None
    # No two frames alike: one pass of I3D leaves out what is repeated.
    video = np.random.default_rng(0).integers(0, 256, (length, 256, 320, 3), dtype=np.uint8)
    plan = extractor.plan(length)
    pieces = list(extractor.pieces([video], plan))[: None if whole else 1]
    slabs = [torch.from_numpy(piece).to(extractor.device) for piece in pieces]
    encoder = extractor.encoder(plan)

    def push() -> int:
        one = extractor.encoder(plan) if whole else encoder
        for number, slab in enumerate(slabs, 1):
            one.push(slab, last=whole and number == len(slabs)).cpu()
        return sum(map(len, slabs))

    push()  # the first time also prepares
    pushed, began, seconds = 0, time.perf_counter(), 0.0
    while not pushed or (seconds < _TRIAL_SEC and pushed + 2 * length <= most):
        pushed += push()
        seconds = time.perf_counter() - began
    log.info("the network alone takes %.0f frames a second", pushed / seconds)
    return pushed / seconds
