"""The features of all videos of a dataset as one tensor of rows, so that a batch is one gather."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from vmr.errors import FeatureError
from vmr.features.store import FeatureStore
from vmr.machine.memory import free_memory_bytes
from vmr.model.spans import pool_steps
from vmr.storage.files import writing

log = logging.getLogger(__name__)

# Beyond this float16 would turn features into infinities (its largest value is 65,504).
_FLOAT16_LIMIT = 60_000.0


@dataclass(frozen=True)
class VideoSteps:
    """Steps of many videos, one after the other, without padding.

    Videos differ in length, so that rows laid end to end take less memory than one padded tensor, and a batch
    is padded to its own longest video only.
    """

    index: dict[str, int]  # number of each video, by id
    rows: Float[Tensor, "R D"]  # features, one row a step, all videos; the last row is zeros and serves as padding
    offsets: Int[Tensor, "V"]  # first row of each video
    counts: Int[Tensor, "V"]  # steps of each video
    start_sec: Float[Tensor, "R"]  # start of every row in seconds; 0 for the padding row
    end_sec: Float[Tensor, "R"]  # end of every row in seconds; 0 for the padding row
    digest: str  # of ids and features, as read from the store (in hexadecimal)

    def steps_of(self, video: int) -> Float[Tensor, "N D"]:
        """The features of a video, one row a step."""
        return self.rows[int(self.offsets[video]) : int(self.offsets[video] + self.counts[video])]

    def times(self, video: int) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
        """Starts and ends of the steps of a video, in seconds."""
        rows = slice(int(self.offsets[video]), int(self.offsets[video] + self.counts[video]))
        return self.start_sec[rows].numpy(), self.end_sec[rows].numpy()


def load_videos(
    store: FeatureStore,
    video_ids: Iterable[str],
    *,
    max_steps: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    memory_bytes: int | None = None,
    scratch: Path | None = None,
) -> VideoSteps:
    """Read the videos that the store has; others are left out (they count as not covered).

    Args:
        max_steps: longer videos are averaged to so many equal time intervals.
        dtype: of the rows in memory, float32 or float16; features too large for float16 are kept in float32.
        memory_bytes: larger tables go to a memory-mapped file instead; None: half of the memory that is free.
        scratch: folder of that file, which has no name and is gone with the process.

    Raises:
        FeatureError: a video has features of another length, or unusable values (see `FeatureStore.get`).
        ShardError: the disk of `scratch` is full, or the folder cannot be written to.
    """
    wanted = sorted(set(video_ids))
    names = [name for name in wanted if name in store]
    if len(names) < len(wanted):
        log.info("%d of %d videos have no features", len(wanted) - len(names), len(wanted))
    if dtype == torch.float16:
        try:
            return _load(store, names, max_steps, np.float16, torch.device(device), memory_bytes, scratch)
        except OverflowError as error:
            log.info("%s: features are kept in single precision", error)
    return _load(store, names, max_steps, np.float32, torch.device(device), memory_bytes, scratch)


def _load(
    store: FeatureStore,
    names: list[str],
    max_steps: int,
    dtype: type[np.float16] | type[np.float32],
    device: torch.device,
    memory_bytes: int | None,
    scratch: Path | None,
) -> VideoSteps:
    # Reserved for the longest possible videos: memory that is never written to is never taken.
    dim = store.dim if names else 0
    shape = (len(names) * max_steps + 1, dim)
    needed = shape[0] * shape[1] * np.dtype(dtype).itemsize
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory_bytes()
    fits = needed <= (free // 2 if memory_bytes is None else memory_bytes)
    file = None if fits or scratch is None else _ScratchFile(scratch, shape, dtype)
    rows = np.empty(shape, dtype=dtype) if file is None else file.rows
    starts, ends, counts = [], [], []
    digest = hashlib.blake2b(digest_size=16)
    used = 0
    for name in tqdm(names, desc="load features", disable=None):
        video = store.get(name)
        if video.features.shape[1] != dim:
            raise FeatureError(
                f"video {name}: expected steps of {dim} numbers, found {video.features.shape}. Extract again."
            )
        digest.update(f"{name}\0{video.digest}\0".encode())
        features, start_sec, end_sec = pool_steps(video.features, video.start_sec, video.end_sec, max_steps=max_steps)
        if dtype is np.float16 and np.abs(features).max() > _FLOAT16_LIMIT:
            raise OverflowError(f"video {name} has features beyond {_FLOAT16_LIMIT:g}")
        if file is not None:
            file.take(used + len(features) + 1)
        rows[used : used + len(features)] = features
        used += len(features)
        starts.append(start_sec)
        ends.append(end_sec)
        counts.append(len(features))
    rows[used] = 0
    table = torch.from_numpy(rows[: used + 1])
    lengths = torch.tensor(counts, dtype=torch.int64)
    padding = np.zeros(1)
    return VideoSteps(
        index={name: number for number, name in enumerate(names)},
        rows=table.to(device) if fits else table,
        offsets=torch.cumsum(lengths, 0) - lengths,
        counts=lengths,
        start_sec=torch.from_numpy(np.concatenate([*starts, padding])),
        end_sec=torch.from_numpy(np.concatenate([*ends, padding])),
        digest=digest.hexdigest(),
    )


class _ScratchFile:
    """Rows in a memory-mapped file without a name: nothing is left behind by a killed process.

    Raises:
        ShardError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, shape: tuple[int, int], dtype: type[np.float16] | type[np.float32]) -> None:
        log.info("the features do not fit into memory: they go to a memory-mapped file in %s", folder)
        self._folder, self._taken = folder, 0
        self._row_bytes = shape[1] * np.dtype(dtype).itemsize
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(prefix=".feature-rows.", dir=folder)  # noqa: SIM115 - kept open
        self.rows: np.memmap[tuple[int, int], np.dtype[np.float16 | np.float32]] = np.memmap(
            self._file, dtype=dtype, mode="w+", shape=shape
        )

    def take(self, rows: int) -> None:
        """Take the disk's space for so many rows, more than before.

        A write to a mapping that has none ends the process.

        Raises:
            ShardError: the disk is full.
        """
        size = rows * self._row_bytes
        with writing(self._folder):
            os.posix_fallocate(self._file.fileno(), self._taken, size - self._taken)
        self._taken = size
