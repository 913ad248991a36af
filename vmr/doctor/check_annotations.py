"""Checks of annotations: lines, spans, durations, repetitions."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from vmr.annotations.units import odd_times
from vmr.doctor.findings import Finding, found

# Charades-STA itself has 2,367 spans that end after their video, by at most 1.54 s: players round.
PAST_END_SEC = 1.6


def check_annotations(
    moments: pd.DataFrame,
    report: Mapping[str, Any],
    durations: Mapping[str, float],
    *,
    train_split: str,
    test_splits: Collection[str],
    to_be_probed: bool = False,
    manifest: pd.DataFrame | None = None,
) -> list[Finding]:
    """Look at the annotations of a dataset.

    Args:
        report: what `parse_annotations` wrote beside it.
        to_be_probed: videos will tell their durations, but have not been asked yet.
        manifest: what probing said, where there was one: of videos that cannot be used no duration is asked.
    """
    splits = report["splits"].values()
    malformed = [f"{line['where']}: {line['reason']}" for split in splits for line in split["malformed"]]
    empty = [f"{line['where']}: {line['reason']}" for split in splits for line in split["degenerate"]]
    length = moments["video_id"].map(dict(durations)).astype(float)
    over = moments["end_sec"] - length
    far = (over > PAST_END_SEC) | (moments["start_sec"] >= length)
    unusable = [] if manifest is None else manifest.loc[manifest["status"] != "ok", "video_id"].tolist()
    unknown = moments.loc[length.isna() & ~moments["video_id"].isin(unusable), "video_id"].unique()
    trained = set(moments.loc[moments["split"] == train_split, "video_id"])
    tested = set(moments.loc[moments["split"].isin(list(test_splits)), "video_id"])
    unprobed = "no video has been probed" if to_be_probed else ""
    units = [f"{split}: {reason}" for split, rows in moments.groupby("split") if (reason := odd_times(rows, durations))]
    return [
        found(
            "annotations: unit of the times",
            units,
            "Give seconds, or name the unit in the header of the column. Parsing and training stop on another unit.",
            skip="" if durations else unprobed,
        ),
        found(
            "annotations: malformed lines",
            malformed,
            "They are left out. Correct the files.",
            of=sum(split["lines"] for split in splits),
        ),
        found(
            "annotations: split without a usable sentence",
            [split for split, content in report["splits"].items() if not content["queries"]],
            "Nothing can be trained on or scored there. Correct the rows, or the splits under `annotations`.",
        ),
        found(
            "annotations: start at or after the end",
            empty,
            "They are left out. Where they are many: are the two times exchanged, or is the second one a length?",
            of=sum(split["lines"] for split in splits),
        ),
        found(
            "annotations: past the end",
            _spans(moments[far], durations),
            "Clamped to the video, little or nothing is left. Are these the videos and durations that were annotated?",
            of=int(length.notna().sum()),
        ),
        found(
            "annotations: a little past the end",
            _spans(moments[(over > 0) & ~far], durations),
            f"Up to {PAST_END_SEC:g} s is usual; they are clamped in training, and scored raw and clamped.",
            level="note",
        ),
        found(
            "annotations: same annotation twice",
            _repeated(moments),
            "They count twice. Remove one of each.",
            of=len(moments),
        ),
        found(
            "annotations: video in training and test",
            sorted(trained & tested) if train_split not in test_splits else [],
            "Scores on a video that was trained on say nothing. Take it out of one split.",
        ),
        found(
            "annotations: unknown duration",
            sorted(map(str, unknown)),
            "Name CSV files of durations, or a folder of videos and run its probe_videos jobs.",
            level="note",
            skip=unprobed,
        ),
    ]


def _spans(rows: pd.DataFrame, durations: Mapping[str, float]) -> list[str]:
    columns = (rows[name] for name in ("query_id", "video_id", "start_sec", "end_sec"))
    return [
        f"{query_id} ({video_id}): {start:g} to {end:g} s of {durations[video_id]:.2f} s"
        for query_id, video_id, start, end in zip(*columns, strict=True)
    ]


def _repeated(moments: pd.DataFrame) -> list[str]:
    # Case and the last full stop aside: those are one annotation entered twice.
    keyed = moments.assign(plain=moments["sentence"].str.lower().str.rstrip(". "))
    first = keyed.groupby(["video_id", "start_sec", "end_sec", "plain"], sort=False)["query_id"].transform("first")
    twice = keyed[first != keyed["query_id"]]
    columns = (twice["query_id"], first[twice.index], twice["video_id"], twice["sentence"])
    return [
        f"{own} is {other}: {video_id}, {sentence!r}" for own, other, video_id, sentence in zip(*columns, strict=True)
    ]
