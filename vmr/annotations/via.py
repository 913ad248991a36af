"""Exports of the VGG Image Annotator for video (VIA 3): its CSV and its project in JSON."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from vmr.storage.json_text import load_json

VIA_HEADER = "# CSV_HEADER = metadata_id"

# Line, (video, start, end, sentence) and fault.
ViaRow = tuple[int, tuple[str, str, str, str], str]
_EMPTY = ("", "", "", "")


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
                    options = load_json(value)
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
    files, views, segments = content["file"], content["view"], content["metadata"]
    options = content.get("attribute", {})
    for number, entry in enumerate(segments.values() if isinstance(segments, dict) else [segments], start=1):
        try:
            names = [files[str(fid)]["fname"] for fid in views[str(entry["vid"])]["fid_list"]]
            values = {"file_list": names, "temporal_coordinates": entry["z"], "metadata": entry["av"]}
        except (LookupError, TypeError) as error:
            yield number, _EMPTY, _fault(error)
        else:
            yield _row(number, {name: json.dumps(value) for name, value in values.items()}, options)


def _row(number: int, values: Mapping[str, str], options: Mapping[str, Any]) -> ViaRow:
    try:
        names = load_json(values["file_list"])
        if "temporal_coordinates" in values:
            times = load_json(values["temporal_coordinates"])
        else:
            times = [float(values["temporal_segment_start"]), float(values["temporal_segment_end"])]
        told = load_json(values["metadata"])
        words = [_words(key, value, options) for key, value in told.items()]
        videos, ends = len(names), len(times)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        return number, _EMPTY, _fault(error)
    if videos != 1:
        return number, _EMPTY, f"one video was expected, found {videos}"
    if ends != 2:
        return number, _EMPTY, "a segment with start and end was expected; this one marks a single picture"
    sentence = " ".join(word for word in words if word and word != "_DEFAULT")
    return number, (str(names[0]), str(times[0]), str(times[1]), sentence), ""


def _fault(error: Exception) -> str:
    return f"not a row of VIA's export ({error!r:.80})"


def _words(key: str, value: Any, options: Mapping[str, Any]) -> str:
    """Text of an attribute: an option is stored by its key."""
    own = options.get(key) if isinstance(options, dict) else None
    listed = own.get("options") if isinstance(own, dict) else None
    return str(listed.get(str(value), value) if isinstance(listed, dict) else value).strip()
