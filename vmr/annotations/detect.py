"""Which of the formats an annotation file has, told by its content."""

from __future__ import annotations

import csv
from pathlib import Path

from vmr.annotations.csv_table import DELIMITERS, REQUIRED, column_of
from vmr.annotations.moments import MOMENT_COLUMNS
from vmr.annotations.parsed import read_bytes
from vmr.errors import AnnotationError


def detect_format(path: Path) -> str:
    """Tell the format of an annotation file by how it begins.

    Args:
        path: the file.

    Returns:
        ``activitynet_captions`` for a JSON object, ``moments`` for a CSV with the header of our table of moments,
        ``csv`` for one with other names for video, start, end and sentence, ``charades_sta`` where one of the first
        lines holds ``##``.

    Raises:
        AnnotationError: the file is missing or empty, or is none of these.
    """
    content = read_bytes(path).lstrip()
    if content.startswith(b"{"):
        return "activitynet_captions"
    lines = content[:100_000].splitlines()[:20]
    first = lines[0].decode("utf-8", errors="replace")
    if set(MOMENT_COLUMNS) <= set(next(csv.reader([first]), [])):
        return "moments"
    if any(set(REQUIRED) <= set(map(column_of, next(csv.reader([first], delimiter=one), []))) for one in DELIMITERS):
        return "csv"
    if any(b"##" in line for line in lines):
        return "charades_sta"
    raise AnnotationError(
        f"{path}: the format cannot be told. Expected Charades-STA lines (`video start end##sentence.`), ActivityNet "
        f"Captions JSON, a CSV with the columns {', '.join(REQUIRED)}, or a table of moments (CSV with "
        f"{', '.join(MOMENT_COLUMNS)}); it begins with {first[:80]!r}."
    )
