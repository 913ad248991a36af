"""Small files of features and of moments, as stages write them, and those that stages make of others."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from vmr.annotations.moments import MOMENT_COLUMNS, read_moments, write_moments
from vmr.annotations.parse import parse_annotations
from vmr.config.feature_sections import ImportSettings
from vmr.features.importers import import_features
from vmr.features.store import FeatureStore


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


def parsed(folder: Path, annotations: dict, *, durations=(), annotation_format="charades_sta", **options) -> tuple:
    """The table of moments and the report of annotation files; both are left in the folder."""
    files = {"output": folder / "moments.csv", "report": folder / "report.json"}
    told = {"annotation_format": annotation_format, "annotations": annotations, "durations": list(durations)}
    parse_annotations(**told, **files, **options)
    return read_moments(files["output"]), json.loads(files["report"].read_text())


def parsed_charades(shared_data: Path, folder: Path, **options) -> tuple:
    """The same of Charades-STA itself."""
    own, splits = shared_data / "charades_sta", ("train", "test")
    files = {split: [own / f"charades_sta_{split}.txt"] for split in splits}
    return parsed(folder, files, durations=[own / f"Charades_v1_{split}.csv" for split in splits], **options)


def imported(folder: Path, source: str | Path, layout: str, **settings: object) -> tuple[FeatureStore, pd.DataFrame]:
    """Features made elsewhere, for the moments of a folder, and their coverage by video; both are left there."""
    told = {"fps": 24.0, "stride": 8.0, "source": str(source), "layout": layout}
    import_features(
        ImportSettings(**told | settings),
        output=folder / "out.h5",
        coverage=folder / "coverage.csv",
        moments=folder / "moments.csv",
        manifests=[],
        code_digest="of importing",
    )
    coverage = pd.read_csv(folder / "coverage.csv", keep_default_na=False).set_index("video_id")
    return FeatureStore(folder / "out.h5"), coverage
