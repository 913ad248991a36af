"""What jobs ask for: memory and run time that grow with the data and with each attempt, and cards."""

import csv
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from vmr.errors import VmrError
from vmr.names import Device


def gpus(device: Device) -> int:
    """Cards that a job of this device asks for; a cluster's head node sees none, so its profile sets them."""
    return int(device == "cuda" or (device == "auto" and shutil.which("nvidia-smi") is not None))


def growing(megabytes: float, *, held_mb: Callable[[Any, Any], float] | None = None) -> Callable[..., int]:
    """Resources function: memory that grows with each attempt.

    Decoding and extraction hold pieces of one video, so that neither its length nor the shard's size matters.

    Args:
        megabytes: of the first attempt.
        held_mb: what is held besides, from the wildcards and inputs of the job.
    """

    def memory(wildcards: Any, input: Any, attempt: int) -> int:
        return int(megabytes + (held_mb(wildcards, input) if held_mb else 0)) * attempt

    return memory


def lasting(minutes: float, *, per_video_hour: float = 0) -> Callable[..., int]:
    """Resources function: run time that grows with each attempt, and with the hours of video in a shard's manifest."""

    def runtime(wildcards: Any, input: Any, attempt: int) -> int:
        seconds = sum(float(value or 0) for value in column(input.manifest, "duration_sec")) if per_video_hour else 0
        return int(minutes + per_video_hour * seconds / 3600) * attempt

    return runtime


def column(path: str, name: str) -> tuple[str, ...]:
    """A column of a CSV that an earlier job writes, read once for each state of the file.

    Raises:
        FileNotFoundError: it is not there yet; Snakemake then plans with ``<TBD>``.
    """
    return _column(path, name, Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _column(path: str, name: str, changed: int) -> tuple[str, ...]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return tuple(row[name] for row in csv.DictReader(file))


def length_of_features(path: str) -> int:
    """How many numbers a feature has, as its file tells; 1024 for a damaged one, of which the job itself complains."""
    return _length(path, Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _length(path: str, changed: int) -> int:
    from vmr.features.store import FeatureStore  # pandas, which most plans do without

    try:
        with FeatureStore(path) as store:
            return store.dim
    except VmrError:
        return 1024
