"""Looking at feature files: what made one, and where two part."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from vmr.features.store import FeatureStore, VideoFeatures

DIFF_COLUMNS = ["video_id", "steps_a", "steps_b", "seconds_a", "seconds_b", "cosine_mean", "cosine_min"]
_EXAMPLES = 3


def features_info(path: Path) -> str:
    """What a feature file holds and what made it, as text for people.

    Raises:
        FeatureError: the file is missing, damaged or no feature file.
    """
    with FeatureStore(path) as store:
        ids = store.video_ids
        steps = [store.steps(video_id) for video_id in ids]
        lines = [f"{path}: {len(ids)} videos, {sum(steps)} steps of {store.dim} numbers"]
        for video_id, count in list(zip(ids, steps, strict=True))[:_EXAMPLES]:
            lines.append(f"  {video_id}: {count} steps, 0 to {store.get(video_id).end_sec[-1]:.2f} s")
        if len(ids) > _EXAMPLES:
            lines.append(f"  and {len(ids) - _EXAMPLES} more")
        if cosines := [cosine for _, cosine in store.exact_cosines().values()]:
            lines.append(
                f"one pass against exact windows: cosine {np.mean(cosines):.4f} on average, {min(cosines):.4f} "
                f"at least ({len(cosines)} windows, one of each video compared)"
            )
        lines.append("made by:")
        for key, value in sorted(store.provenance.items()):
            lines.append(f"  {key}: {value if isinstance(value, str) else json.dumps(value, sort_keys=True)}")
    return "\n".join(lines)


def features_diff(first: Path, second: Path) -> pd.DataFrame:
    """Compare two feature files video by video.

    Returns:
        One row for every video in either: steps and last second in both, mean and smallest cosine between vectors of
            the same step. Cells are empty where a video is absent or vectors have other lengths.

    Raises:
        FeatureError: a file is missing, damaged or no feature file.
    """
    rows = []
    with FeatureStore(first) as a, FeatureStore(second) as b:
        for video_id in sorted(set(a.video_ids) | set(b.video_ids)):
            both = [store.get(video_id) if video_id in store else None for store in (a, b)]
            steps = [len(video.features) if video else None for video in both]
            seconds = [float(video.end_sec[-1]) if video else None for video in both]
            cosine = _cosines(*both)
            cosines = (None, None) if cosine is None else (float(cosine.mean()), float(cosine.min()))
            rows.append((video_id, *steps, *seconds, *cosines))
    table = pd.DataFrame(rows, columns=DIFF_COLUMNS)
    return table.astype({"steps_a": "Int64", "steps_b": "Int64"})


def _cosines(first: VideoFeatures | None, second: VideoFeatures | None) -> np.ndarray | None:
    if first is None or second is None or first.features.shape[1] != second.features.shape[1]:
        return None
    steps = min(len(first.features), len(second.features))
    a, b = (video.features[:steps].astype(np.float64) for video in (first, second))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    # Two zero vectors are alike; a zero vector and another are not.
    alike = (norms == 0) & (np.abs(a).sum(axis=1) == np.abs(b).sum(axis=1))
    cosines: np.ndarray = np.where(alike, 1.0, (a * b).sum(axis=1) / np.where(norms == 0, 1.0, norms))
    return cosines
