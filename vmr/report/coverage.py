"""Which videos have features, and why the others have none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmr.errors import EvaluationError
from vmr.storage.records import read_table

_COLUMNS = ("video_id", "status", "reason")
_LISTED = 2000  # videos of one reason that are named


@dataclass(frozen=True)
class Failure:
    """Videos without features for one reason."""

    status: str
    reason: str
    video_ids: tuple[str, ...]
    more: int  # videos that are counted but not named


@dataclass(frozen=True)
class Coverage:
    """Videos of one kind of features: how many there are, how many have features, and why the others have none."""

    features: str
    videos: int
    covered: int
    failures: tuple[Failure, ...]


def read_coverage(paths: Mapping[str, Path]) -> list[Coverage]:
    """Read the coverage of each kind of features; failures with the same reason together, most videos first.

    Args:
        paths: ``{extractor}_coverage.csv`` by what the page calls it.

    Raises:
        EvaluationError: a file is missing or is not such a table.
    """
    return [_one(name, path) for name, path in paths.items()]


def _one(name: str, path: Path) -> Coverage:
    again = "Merge the features again."
    table = read_table(path, what="coverage table", columns=_COLUMNS, again=again, error=EvaluationError)
    bad = table[table["status"] != "ok"]
    # The id of the video in its own reason would make each reason another one.
    general = [
        re.sub(rf"(?<!\w){re.escape(str(video_id))}(?!\w)", "…", str(reason)) if video_id else str(reason)
        for reason, video_id in zip(bad["reason"], bad["video_id"], strict=True)
    ]
    found: dict[tuple[str, str], list[str]] = {}
    for video_id, status, reason in zip(bad["video_id"], bad["status"], general, strict=True):
        found.setdefault((str(status), reason), []).append(str(video_id))
    failures = [_failure(status, reason, video_ids) for (status, reason), video_ids in found.items()]
    failures.sort(key=lambda failure: -(len(failure.video_ids) + failure.more))
    return Coverage(name, len(table), len(table) - len(bad), tuple(failures))


def _failure(status: str, reason: str, video_ids: Sequence[str]) -> Failure:
    named = tuple(sorted(video_ids)[:_LISTED])
    return Failure(status, reason or "no reason was noted", named, len(video_ids) - len(named))
