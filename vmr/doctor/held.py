"""Features as the checks see them: those of a file of ours, and those of others at their source."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float

from vmr.config.feature_sections import ImportSettings
from vmr.doctor.check_features import HeldFeatures
from vmr.errors import DamageError, FeatureError
from vmr.features.foreign_sources import open_source
from vmr.features.importers import refuse_other_length, times_of_shape
from vmr.features.store import FeatureStore
from vmr.storage.hdf5 import reading


def frame_rates(manifest: pd.DataFrame | None) -> dict[str, tuple[float, float]]:
    """Frames a second and duration in seconds of the videos that have been probed."""
    if manifest is None:
        return {}
    known = manifest[(manifest["fps"] > 0) & (manifest["duration_sec"] > 0)]
    numbers = zip(known["fps"].astype(float), known["duration_sec"].astype(float), strict=True)
    return dict(zip(known["video_id"], numbers, strict=True))


def imported(held: ImportSettings, durations: Mapping[str, float]) -> HeldFeatures:
    """Features at the source of an import, as the checks see them."""
    if _is_ours(held):
        advice = f"They are not in {held.source} under their ids."
        return dataclasses.replace(extracted(held.kind, Path(held.source), durations), advice=advice)

    def check_length(shape: tuple[int, ...], video_id: str) -> None:
        times_of_shape(shape, held, duration=durations.get(video_id, float("nan")))

    return HeldFeatures(
        name=held.kind,
        open=partial(open_source, held),
        check_length=check_length,
        advice=f"They are not in {held.source} under their ids, with or without `v_`.",
        fps=held.fps,
        stride=held.stride,
        window=held.window,
        durations=durations,
    )


def _is_ours(held: ImportSettings) -> bool:
    if not h5py.is_hdf5(held.source):  # a folder would be listed, and a dictionary of arrays read, for nothing
        return False
    with open_source(held) as read:
        return read.made is not None


def extracted(kind: str, path: Path, durations: Mapping[str, float]) -> HeldFeatures:
    """Features of a file of ours, as the checks see them."""
    ends: dict[str, tuple[float, float]] = {}

    @contextmanager
    def opened() -> Iterator[Callable[[str], Float[np.ndarray, "..."] | None]]:
        with FeatureStore(path) as store:

            def read(video_id: str) -> Float[np.ndarray, "..."] | None:
                if video_id not in store:
                    return None
                try:
                    with reading(path, f"what it holds of {video_id}"):
                        features, start_sec, end_sec = map(np.asarray, store.arrays(video_id))
                        ends[video_id] = float(end_sec[-1]), float(end_sec[0] - start_sec[0])
                except DamageError as error:  # of one video: the others are looked at all the same
                    raise FeatureError(str(error)) from error
                return features

            yield read

    def check_length(shape: tuple[int, ...], video_id: str) -> None:
        refuse_other_length(shape[0], *ends[video_id], duration=durations.get(video_id, float("nan")))

    advice = f"{path.with_name(kind + '_coverage.csv')} has the reasons."
    return HeldFeatures(name=kind, open=opened, check_length=check_length, advice=advice)
