"""Which videos have features, and why the others have none."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmr.errors import EvaluationError
from vmr.storage.records import read_table

_COLUMNS = ("video_id", "status", "reason")
_LISTED = 2000  # videos of one reason that are named


def read_coverage(paths: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Read the coverage of each kind of features; failures with the same reason together, most videos first.

    Of these not all videos are named; `more` says how many are only counted.

    Args:
        paths: ``{extractor}_coverage.csv`` by what the page calls it.

    Raises:
        EvaluationError: a file is missing or is not such a table.
    """
    return [_one(name, path) for name, path in paths.items()]


def _one(name: str, path: Path) -> dict[str, Any]:
    again = "Merge the features again."
    table = read_table(path, what="coverage table", columns=_COLUMNS, again=again, error=EvaluationError)
    bad = table[table["status"] != "ok"]
    found: dict[tuple[str, str], list[str]] = {}
    for video_id, status, reason in zip(bad["video_id"], bad["status"], bad["reason"], strict=True):
        # The id of the video in its own reason would make each reason another one.
        general = re.sub(rf"(?<!\w){re.escape(video_id)}(?!\w)", "…", reason) if video_id else reason
        found.setdefault((status, general or "no reason was noted"), []).append(video_id)
    failures = [
        {"status": status, "reason": reason, "video_ids": tuple(sorted(ids)[:_LISTED]), "more": len(ids[_LISTED:])}
        for (status, reason), ids in sorted(found.items(), key=lambda entry: -len(entry[1]))
    ]
    return {"features": name, "videos": len(table), "covered": len(table) - len(bad), "failures": failures}
