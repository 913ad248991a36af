"""Checks of video files: those that are missing or broken, their lengths and frame rates."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vmr.doctor.findings import Finding, found, skipped
from vmr.video.manifest import find_videos, why_missing

# Annotated and probed durations of one video: re-encoding moves them, and CSV files round.
_LENGTH_SEC, _LENGTH_SHARE = 2.0, 0.1


def check_videos(moments: pd.DataFrame, folder: Path) -> list[Finding]:
    """Which annotated videos have no file."""
    wanted = sorted(moments["video_id"].unique())
    there = find_videos(folder, wanted)
    missing = [video_id for video_id in wanted if video_id not in there]
    return [
        found(
            "videos: missing",
            [f"{video_id}{reason}" for video_id, reason in why_missing(folder, missing).items()],
            f"{len(there):,} of {len(wanted):,} are in {folder}, named by their ids. Sentences of the others count as "
            "wrong answers.",
            level="note" if there else "wrong",
        )
    ]


def check_manifest(manifest: pd.DataFrame | None, annotated: Mapping[str, float], *, fps: float) -> list[Finding]:
    """What probing and decoding said of the videos, None where neither was done."""
    names = ("videos: broken", "videos: length against duration", "videos: frame rate")
    if manifest is None:
        return [skipped(name, "no video has been probed") for name in names]
    bad = manifest[manifest["status"] == "bad"]
    there = manifest[manifest["status"] != "missing"]
    lengths = [
        f"{video_id}: {seconds:.2f} s, annotated {annotated[video_id]:.2f} s"
        for video_id, seconds in zip(there["video_id"], there["duration_sec"], strict=True)
        if seconds > 0
        and video_id in annotated
        and abs(seconds - annotated[video_id]) > max(_LENGTH_SEC, _LENGTH_SHARE * annotated[video_id])
    ]
    slow = there[(there["fps"] > 0) & (there["fps"] < fps / 2)]
    return [
        found(
            names[0],
            [f"{video_id}: {reason}" for video_id, reason in zip(bad["video_id"], bad["reason"], strict=True)],
            "Fetch them again; sentences of these videos count as wrong answers.",
            level="note" if len(bad) < len(there) else "wrong",
        ),
        found(
            names[1],
            lengths,
            "Is it the video that was annotated? A cut or padded copy shifts every span.",
            of=len(there),
        ),
        found(
            names[2],
            [f"{video_id}: {rate:.3f}" for video_id, rate in zip(slow["video_id"], slow["fps"], strict=True)],
            f"Below half of {fps:g} frames a second: every frame is repeated, and features see less motion.",
            level="note",
        ),
    ]
