"""Annotation files of any format to parsed queries, with the ids of their videos settled."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from vmr.annotations.charades_sta import parse_charades_sta
from vmr.annotations.csv_table import DELIMITERS, REQUIRED, cells_of, lines_above_header, names_columns, read_table
from vmr.annotations.eaf import parse_eaf
from vmr.annotations.json_files import parse_json, sentences_without_times
from vmr.annotations.moments import MOMENT_COLUMNS, read_moments
from vmr.annotations.parsed import ParsedFile, Problem, question, read_bytes, settle_video_ids
from vmr.annotations.sentences_csv import parse_table, splits_of
from vmr.annotations.via import VIA_HEADER
from vmr.errors import AnnotationError
from vmr.names import AnnotationFormat

_SUBRIP = re.compile(rb"\d+\r?\n\d+:\d\d:\d\d,\d+ -->")
# `activitynet_captions` is an older name for JSON of any layout.
FORMATS = get_args(AnnotationFormat)


def read_annotations(
    annotations: Mapping[str, Sequence[Path]], *, annotation_format: str, train_split: str = "train"
) -> dict[str, list[ParsedFile]]:
    """Read the files of a dataset, by split; a file that several splits name is read once and divided.

    Raises:
        AnnotationError: a file is missing or not in the format, or two videos have one name.
    """
    sharing: dict[Path, tuple[Path, list[str]]] = {}  # by where it lies, since one file may be named in two ways
    for split, files in annotations.items():
        for file in files:
            sharing.setdefault(file.resolve(), (file, []))[1].append(split)
    parts = {
        place: read_file(file, annotation_format=annotation_format, splits=splits, train_split=train_split)
        for place, (file, splits) in sharing.items()
    }
    parsed = {split: [parts[file.resolve()][split] for file in files] for split, files in annotations.items()}
    settle_video_ids({id(part): part for files in parsed.values() for part in files}.values())
    return parsed


def read_file(
    path: Path,
    *,
    annotation_format: str = "auto",
    splits: Sequence[str] = (),
    name: str = "",
    train_split: str = "train",
) -> dict[str, ParsedFile]:
    """Content of one file by split, with videos named as the file names them.

    Args:
        splits: the splits that it is named for; none: those that it holds, or `name`.
        name: of the split of a file that holds none; empty: the file's own name.
        train_split: of these, the one that is trained on.

    Raises:
        AnnotationError: the file is missing or not in the format.
    """
    kind = detect_format(path) if annotation_format == "auto" else annotation_format
    if kind == "csv":
        table = read_table(path)
        wanted = list(splits) or splits_of(table) or [name or path.stem]
        return parse_table(table, splits=wanted, train_split=train_split)
    if kind in ("json", "activitynet_captions"):
        return parse_json(path, splits=splits, name=name)
    if kind == "moments":
        raise AnnotationError(f"{path}: is a table of moments already, no annotation file.")
    read = parse_eaf if kind == "eaf" else parse_charades_sta
    return {split: read(path) for split in dict.fromkeys(splits or [name or path.stem])}


def read_sentences(path: Path) -> tuple[dict[str, list[str]], list[Problem]]:
    """The sentences that a file asks of each video, each once, and what is wrong with its other rows.

    Args:
        path: an annotation file of any format, whose times do not count, and which CSV and JSON may leave out; or a
            table of moments.

    Raises:
        AnnotationError: the file is missing, of no known format, or has nothing usable.
    """
    asked, kind = ParsedFile(), detect_format(path)
    if kind == "moments":
        table = read_moments(path)
        for key, video_id, sentence in table[["query_id", "video_id", "sentence"]].astype(str).to_numpy().tolist():
            asked.add(question(key, f"{path}: {key}", video_id, sentence))
    elif kind == "csv":
        for line in read_table(path, required=("video", "sentence")).rows:
            where = f"{path}:{line.line}"
            if line.fault:
                asked.malformed.append(Problem(where, line.fault))
            else:
                asked.add(question(str(line.line), where, line.video_id, line.values["sentence"]))
    elif kind == "json":
        asked = sentences_without_times(path)
    else:
        for part in read_file(path).values():
            asked.queries += part.queries + part.degenerate
            asked.malformed += part.malformed
    asked.refuse_nothing(path, "one usable sentence")
    sentences: dict[str, list[str]] = {}
    for query in asked.queries:
        sentences.setdefault(query.video_id, []).append(query.sentence)
    return {video_id: list(dict.fromkeys(own)) for video_id, own in sentences.items()}, asked.malformed


def detect_format(path: Path) -> str:
    """Tell the format of an annotation file by how it begins.

    Returns:
        ``json`` for JSON and JSON lines, ``eaf`` for a document of ELAN, ``moments`` for a CSV with the header of our
        table of moments, ``csv`` for one with other names for video, start, end and sentence, or of VIA,
        ``charades_sta`` where one of the first lines holds ``##``.

    Raises:
        AnnotationError: the file is missing or empty, or is none of these.
    """
    content = read_bytes(path).lstrip()
    if content.startswith((b"{", b"[")):
        return "json"
    if content.startswith(b"<") and b"<ANNOTATION_DOCUMENT" in content[:10_000]:
        return "eaf"
    lines = content[:100_000].splitlines()[:20]
    if any(VIA_HEADER.encode() in line for line in lines):
        return "csv"
    first = lines[1 if lines[0].lower().startswith(b"sep=") and len(lines) > 1 else 0].decode("utf-8", errors="replace")
    if set(MOMENT_COLUMNS) <= set(cells_of(first, ",")):
        return "moments"
    texts = [line.decode("utf-8", errors="replace") for line in lines]
    if names_columns(first) or lines_above_header("\n".join(texts)):
        return "csv"
    if any(b"##" in line for line in lines):
        return "charades_sta"
    if any(map(names_columns, texts)):
        return "csv"  # whose header lacks something, which is told when it is read
    raise AnnotationError(
        f"{path}: the format cannot be told. Expected Charades-STA lines (`video start end##sentence.`), JSON as "
        f"docs/data.md lists it, a CSV with the columns {', '.join(REQUIRED)}, a document of ELAN (.eaf), or a table "
        f"of moments (CSV with {', '.join(MOMENT_COLUMNS)}); it begins with {first[:80]!r}.{_hint(content, first)}"
    )


def _hint(content: bytes, first: str) -> str:
    """What to do about a file that is known, though not read."""
    if content.startswith(b"WEBVTT") or _SUBRIP.match(content):
        return " These are subtitles: make a CSV with a row for each sentence."
    if content.startswith(b"version https://git-lfs"):
        return " It is a pointer of Git LFS: `git lfs pull` fetches the file itself."
    if re.match(rb"<!doctype html|<html", content, re.IGNORECASE):
        return " It is a page in HTML, no file of annotations: download it anew, or save the table as CSV."
    if content.startswith(b"<"):
        return " XML is read of ELAN only: export a CSV."
    if any(len(cells_of(first, one)) >= len(REQUIRED) for one in DELIMITERS):
        return f" A table begins with the names of its columns, such as `{','.join(REQUIRED)}`."
    return ""
