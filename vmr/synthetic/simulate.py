"""The stage `simulate`: annotations of a dataset to simulated features, in the forms that the import reads."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from vmr.annotations.moments import read_moments, video_durations
from vmr.config.feature_sections import Recipe
from vmr.errors import AnnotationError
from vmr.storage.files import atomic_path, sha256_file, write_text, writing
from vmr.storage.hdf5 import new_hdf5
from vmr.storage.provenance import library_versions
from vmr.storage.records import write_rows
from vmr.synthetic.planting import simulate_video

log = logging.getLogger(__name__)


def simulate_features(
    *,
    moments: Path,
    annotations: Mapping[str, Path],
    durations: Path,
    features: Path,
    recipe: Recipe,
) -> None:
    """Simulate features for the sentences of a dataset, or of a part of its videos.

    Written are the annotations and durations of the videos chosen, in the layout of Charades-STA, and the features,
    one dataset a video in half precision, with the recipe in the attribute ``provenance``: what the import takes.

    Raises:
        AnnotationError: a split has no moments or fewer videos than are asked for, or a video's duration is unknown.
        ShardError: the disk is full or a folder cannot be written.
    """
    table = read_moments(moments)
    seconds = video_durations(table)
    chosen = {
        split: choose_videos(table, split=split, number=recipe.videos.get(split), source=moments)
        for split in annotations
    }
    # A video in two splits shows what the sentences of both say.
    rows = pd.concat([table[(table["split"] == split) & table["video_id"].isin(ids)] for split, ids in chosen.items()])
    unknown = sorted(set(rows["video_id"]) - set(seconds))
    if unknown:
        raise AnnotationError(
            f"{moments}: {len(unknown)} videos have no known duration, {unknown[0]} for one; their features cannot be "
            "simulated. Name the CSV files of durations in the dataset's section."
        )
    by_video = {
        str(video_id): list(zip(own["start_sec"], own["end_sec"], own["sentence"], strict=True))
        for video_id, own in rows.groupby("video_id", sort=True)
    }
    with writing(features), atomic_path(features) as temporary, new_hdf5(temporary) as file:
        for video_id, own in tqdm(by_video.items(), desc="simulate", unit="video", disable=None):
            video = simulate_video(video_id, own, duration_sec=seconds[video_id], recipe=recipe)
            file.create_dataset(video_id, data=video.features)
        file.attrs["provenance"] = json.dumps(
            {
                "simulated": True,
                "recipe": recipe.model_dump(exclude={"videos"}),
                "moments_sha256": sha256_file(moments),
                "versions": library_versions(["vmr", "numpy", "spacy"]),
            },
            sort_keys=True,
        )
    for split, path in annotations.items():
        own_rows = rows[rows["split"] == split]
        lines = (
            f"{row.video_id} {row.start_sec!r} {row.end_sec!r}##{row.sentence}\n"
            for row in own_rows[["video_id", "start_sec", "end_sec", "sentence"]].itertuples()
        )
        with writing(path):
            write_text(path, "".join(lines))
        log.info("%s: %d videos, %d sentences", split, len(chosen[split]), len(own_rows))
    with writing(durations):
        write_rows(durations, ["id", "length"], ([video_id, repr(seconds[video_id])] for video_id in by_video))


def choose_videos(table: pd.DataFrame, *, split: str, number: int | None, source: Path) -> set[str]:
    """The videos of a split with the smallest hashes of their ids: the same whatever the order of the files.

    Raises:
        AnnotationError: there are fewer, or none at all.
    """
    ids = sorted(
        set(table.loc[table["split"] == split, "video_id"]),
        key=lambda name: hashlib.sha256(f"simulate:{name}".encode()).digest(),
    )
    if not ids or len(ids) < (number or 0):
        raise AnnotationError(
            f"{source}: the split {split} has {len(ids)} videos, {number or 'some'} are to be simulated. "
            f"There are: {', '.join(sorted(set(table['split'])))}."
        )
    return set(ids[:number])
