"""A small try of a dataset: some of its videos, one method, one seed, as a dataset of its own beside it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from vmr.annotations.moments import video_durations
from vmr.assets.prepare import prepare_asset
from vmr.assets.registry import ASSETS_FOLDER
from vmr.errors import ConfigError
from vmr.methods.catalogue import place_of
from vmr.pipeline.corpus import moments_of
from vmr.pipeline.plan import Plan
from vmr.settings.checks import overlaid
from vmr.storage.files import write_text
from vmr.storage.records import write_rows
from vmr.video.manifest import find_videos

_TEST_SHARE = 5  # every fifth video is tested
_SHARDS = 2


def small_try(plan: Plan, name: str, *, videos: int, quick: Mapping[str, Any]) -> Path:
    """Write annotations and a section of configuration for a try; the file of the section.

    Videos whose files are there are taken first, those with the smallest hashes of their ids. Annotations that can be
    fetched are fetched, some MB.

    Args:
        quick: settings for few sentences; the method is the last of the table, the seed the dataset's first.

    Raises:
        ConfigError: the annotations are not there, or there are too few videos.
        AssetError: annotations cannot be fetched.
    """
    dataset = plan.datasets[name]
    if dataset.render or dataset.simulate:
        raise ConfigError(f"{name}: is small, or has no videos; a try is for datasets with videos of their own.")
    for file, asset in plan.fetched.items():
        if file in (*dataset.annotation_files, *dataset.durations):
            prepare_asset(asset, output=Path(file), cache=Path(ASSETS_FOLDER) / "downloads")
    moments = moments_of(dataset, Path("work") / name)
    if moments is None:
        raise ConfigError(
            f"{name}: its annotations ({', '.join(dataset.annotation_files)}) are not there or cannot be read. Put "
            "them there; docs/data.md says where they come from."
        )
    tested = next(iter(dataset.test_splits.values()))
    splits = {
        "train": moments[moments["split"] == dataset.train_split],
        "test": moments[moments["split"].isin(tested) & ~moments["video_id"].isin(_ids(moments, dataset.train_split))],
    }
    there = set() if name in plan.imports else set(find_videos(str(dataset.videos), moments["video_id"].unique()))
    chosen = {
        "train": _chosen(splits["train"], videos - videos // _TEST_SHARE, there),
        "test": _chosen(splits["test"], max(1, videos // _TEST_SHARE), there),
    }
    if empty := [split for split, rows in chosen.items() if rows.empty]:
        raise ConfigError(f"{name}: no video for the split {empty[0]} of a try. Put videos of both splits there.")
    trial = f"{name}_try"
    folder = Path("work") / trial / "try"
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in chosen.items():
        _write(folder / f"{split}.csv", ("video", "start", "end", "sentence"), rows)
    lengths = video_durations(pd.concat(chosen.values()))
    if lengths:
        _write(folder / "lengths.csv", ("id", "length"), pd.DataFrame(lengths.items()))
    training = plan.settings[name].training
    one = {"training": {"methods": [max(training.methods, key=place_of)], "seeds": [training.seeds[0]]}}
    section: dict[str, Any] = {
        "title": f"{dataset.title}, a try with {videos} videos",
        "annotation_format": "csv",
        "annotations": {split: str(folder / f"{split}.csv") for split in chosen},
        "durations": [str(folder / "lengths.csv")] if lengths else [],
        "videos": dataset.videos,
        "test_splits": {"test": "test"},
        "extractors": dataset.extractors,
        "shards": _SHARDS,
        "fetch_videos": dataset.fetch_videos,
        "overrides": overlaid(overlaid(dataset.overrides, quick), one),
    }
    written = folder / "config.yaml"
    write_text(written, yaml.safe_dump({"datasets": {trial: section}}, sort_keys=False, allow_unicode=True))
    return written


def _ids(moments: pd.DataFrame, split: str) -> set[str]:
    return set(moments.loc[moments["split"] == split, "video_id"])


def _chosen(rows: pd.DataFrame, number: int, there: set[str]) -> pd.DataFrame:
    """The rows of some videos, of those that are there where any is."""
    ids = set(rows["video_id"])
    ids = ids & there or ids
    first = sorted(ids, key=lambda video_id: hashlib.sha256(video_id.encode()).hexdigest())[:number]
    return rows.loc[rows["video_id"].isin(first)]


def _write(path: Path, header: tuple[str, ...], rows: pd.DataFrame) -> None:
    columns = {"video": "video_id", "start": "start_sec", "end": "end_sec"}
    named = rows[[columns.get(name, name) for name in header]] if "video_id" in rows else rows
    write_rows(path, header, named.itertuples(index=False))
