"""Small files of features and of moments, as stages write them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from vmr.annotations.moments import MOMENT_COLUMNS, write_moments


def write_features(path: Path, videos: dict[str, np.ndarray | tuple], **provenance: object) -> None:
    """Write a feature file in the layout of `vmr.features.store`.

    Args:
        path: the file.
        videos: features, or they and the starts and ends of their steps, which are a third of a second otherwise.
        provenance: is added to extractor and dim.
    """
    dim = {}
    with h5py.File(path, "w") as file:
        for name, video in videos.items():
            edges = np.arange(len(video) + 1) / 3
            features, start_sec, end_sec = video if isinstance(video, tuple) else (video, edges[:-1], edges[1:])
            file[f"features/{name}"] = features
            file[f"start_sec/{name}"] = start_sec
            file[f"end_sec/{name}"] = end_sec
            dim = {"dim": features.shape[1]}
        file.attrs["provenance"] = json.dumps({"extractor": "synthetic", **dim, **provenance})


def write_first_seconds(path: Path, **splits: dict[str, float]) -> None:
    """Write a table with the first second of each video, whose lengths are given by split."""
    rows = [
        (f"{split}:{video_id}", video_id, split, 0.0, 1.0, seconds, "a person walks")
        for split, lengths in splits.items()
        for video_id, seconds in lengths.items()
    ]
    write_moments(pd.DataFrame(rows, columns=MOMENT_COLUMNS), path)


def write_sentences(path: Path, sentences: dict[str, str]) -> None:
    """Write a table of sentences by the ids of their queries, `split:number`, all about one second of one video."""
    rows = [(key, "v", key.split(":")[0], 0.0, 1.0, 2.0, sentence) for key, sentence in sentences.items()]
    write_moments(pd.DataFrame(rows, columns=MOMENT_COLUMNS), path)
