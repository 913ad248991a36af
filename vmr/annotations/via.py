"""Exports of the VGG Image Annotator for video (VIA 3): its CSV and its project in JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

VIA_HEADER = "# CSV_HEADER = metadata_id"

# Line, (video, start, end, sentence) and fault.
ViaRow = tuple[int, tuple[str, str, str, str], str]


def via_rows(text: str) -> Iterator[ViaRow]:
    """Rows of a CSV; the values of a segment's attributes, one after the other, are its sentence.

    Older files have a column for the start and one for the end, newer ones `temporal_coordinates`.
    """
    options: dict[str, Any] = {}
    names: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        if line.lstrip('"').startswith("#"):
            head, _, value = line.strip().strip('"').partition("=")
            if "ATTRIBUTE" in head:
                try:
                    options = json.loads(value)
                except ValueError:
                    options = {}
            elif "CSV_HEADER" in head:
                names = [name.strip() for name in value.split(",") if name.strip()]
            continue
        cells = next(csv.reader(io.StringIO(line), skipinitialspace=True))
        values = dict(zip(names, cells, strict=False))
        yield _row(number, values, options)


def via_project(content: Mapping[str, Any]) -> Iterator[ViaRow]:
    """Segments of a project, numbered from 1."""
    files, views = content["file"], content["view"]
    for number, entry in enumerate(content["metadata"].values(), start=1):
        names = [files[str(fid)]["fname"] for fid in views[str(entry["vid"])]["fid_list"]]
        values = {"file_list": json.dumps(names), "temporal_coordinates": json.dumps(entry["z"])}
        yield _row(number, values | {"metadata": json.dumps(entry["av"])}, content.get("attribute", {}))


def _row(number: int, values: Mapping[str, str], options: Mapping[str, Any]) -> ViaRow:
    empty = ("", "", "", "")
    try:
        names = json.loads(values["file_list"])
        if "temporal_coordinates" in values:
            times = json.loads(values["temporal_coordinates"])
        else:
            times = [float(values["temporal_segment_start"]), float(values["temporal_segment_end"])]
        told = json.loads(values["metadata"])
        words = [_words(key, value, options) for key, value in told.items()]
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        return number, empty, f"not a row of VIA's export ({error!r:.80})"
    if len(names) != 1:
        return number, empty, f"one video was expected, found {len(names)}"
    if len(times) != 2:
        return number, empty, "a segment with start and end was expected; this one marks a single picture"
    sentence = " ".join(word for word in words if word and word != "_DEFAULT")
    return number, (str(names[0]), str(times[0]), str(times[1]), sentence), ""


def _words(key: str, value: Any, options: Mapping[str, Any]) -> str:
    """Text of an attribute: an option is stored by its key."""
    listed = options.get(key, {}).get("options", {}) if isinstance(options.get(key), dict) else {}
    return str(listed.get(str(value), value)).strip()
