"""The video manifest: one row for every video of a shard that the annotations name, whatever became of it."""

import logging
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vmr.annotations.moments import video_durations
from vmr.errors import VideoError
from vmr.names import VIDEO_EXTENSIONS
from vmr.storage.records import read_table, write_table
from vmr.video.listing import files_below
from vmr.video_ids import VideoNames, extension_of, plain_name, stem_of

logger = logging.getLogger(__name__)

# start_sec: where the file's presentation timeline begins on its own clock; annotations and frames count from there.
# width, height: in pixels, after rotation (pixels that are not square are stretched when frames are kept, and the note
# says so); rotation: degrees clockwise that a player turns the picture.
MANIFEST_COLUMNS = [
    "video_id",
    "path",
    "status",
    "reason",
    "duration_sec",
    "start_sec",
    "fps",
    "num_frames",
    "width",
    "height",
    "rotation",
    "codec",
    "size_bytes",
    "mtime_ns",
]
DECODED_COLUMNS = [*MANIFEST_COLUMNS, "decoder", "decoded_frames", "note"]
_TEXT_COLUMNS = {"video_id", "path", "status", "reason", "codec", "decoder", "note"}
_FLOAT_COLUMNS = {"duration_sec", "start_sec", "fps"}


def write_manifest(rows: Iterable[dict[str, Any]], path: Path | str, *, columns: Sequence[str]) -> None:
    """Write rows atomically as CSV.

    Args:
        rows: dictionaries by column; what a row lacks stays empty.

    Raises:
        ShardError: the disk is full or the folder cannot be written.
    """
    write_table(path, pd.DataFrame(list(rows), columns=list(columns), dtype=object))


def read_manifest(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read the manifests of one or more shards as one table.

    Returns:
        One row a video. Text columns are `str`, durations, start and rate float64 (NaN: unknown), counts
        pandas' nullable integers.

    Raises:
        VideoError: a file is missing, cannot be read or is no manifest, or two of them name the same video.
    """
    tables = [_read_one(Path(path)) for path in paths]
    if not tables:
        raise VideoError("no video manifest was given; run probe_videos first.")
    table = pd.concat(tables, ignore_index=True)
    twice = table["video_id"][table["video_id"].duplicated()]
    if len(twice):
        raise VideoError(f"the video {twice.iloc[0]} is in two manifests; give each shard once.")
    return table


def known_manifest(folder: Path) -> pd.DataFrame | None:
    """Rows of a dataset's decoded videos where there are any, else of its probed ones; None without either."""
    for stage in ("frames", "videos"):
        if shards := sorted((folder / stage).glob("shard_*.csv")):
            return read_manifest(shards)
    return None


def known_durations(moments: pd.DataFrame, manifests: Sequence[Path]) -> dict[str, float]:
    """Seconds by video id, see `video_durations`; there may be no manifests."""
    return video_durations(moments, read_manifest(manifests) if manifests else None)


def find_videos(folder: Path | str, video_ids: Iterable[str]) -> dict[str, Path]:
    """Find the file of each video by the rule of `vmr.video_ids`, with one of `VIDEO_EXTENSIONS` in whatever case.

    Args:
        folder: where the videos lie, perhaps in subfolders; it need not exist. Listed once, since a look-up for each of
            thousands of ids and extensions is slow on network file systems.

    Returns:
        The files found; of several for one id in one folder the first in the order of `VIDEO_EXTENSIONS`, with a
        warning; of several in different folders the one that lies less deep, and none of those that lie equally deep.

    Raises:
        VideoError: the folder cannot be listed.
    """
    candidates = _candidates(folder)
    found: dict[str, Path] = {}
    for video_id in dict.fromkeys(video_ids):
        files = _nearest_files(candidates, video_id)
        if files and len({file.rpartition("/")[0] for file in files}) == 1:
            found[video_id] = Path(folder, files[0])
            if len(files) > 1:
                logger.warning("%s: %s is taken; %s left aside", video_id, files[0], ", ".join(files[1:]))
    return found


def why_missing(folder: Path | str, video_ids: Iterable[str]) -> dict[str, str]:
    """For videos that `find_videos` does not find, what lies in the folder that may be meant: the end of a message.

    Raises:
        VideoError: the folder cannot be listed.
    """
    wanted = list(video_ids)
    files = sorted((file for file, _ in files_below(folder)), reverse=True) if wanted else []
    others = {name: file for file in files for name in (plain_name(file), _stem(file), stem_of(_stem(file)))}
    candidates = _candidates(folder) if wanted else {}
    names = VideoNames(stem_of(file) for file in files if extension_of(file))
    reasons = {}
    for video_id in wanted:
        if several := _nearest_files(candidates, video_id):
            reasons[video_id] = f" ({' and '.join(several[:3])} are there: keep one, or give them different names)"
        elif other := others.get(unicodedata.normalize("NFC", video_id)):
            end = plain_name(other)[len(plain_name(video_id)) :] or "a name without extension"
            reasons[video_id] = f" ({other} is there, but {end} is no extension that is read: rename it)"
        else:
            reasons[video_id] = names.nearest(video_id)
    return reasons


def _candidates(folder: Path | str) -> dict[str, list[str]]:
    """Video files below a folder, by their stem and by their plain name; the less deep first, then by extension."""
    files = [file for file, _ in files_below(folder) if extension_of(file)]
    files.sort(key=lambda file: (file.count("/"), VIDEO_EXTENSIONS.index(extension_of(file)), file))
    candidates: dict[str, list[str]] = {}
    for file in files:
        stem = stem_of(file)
        for name in (stem, stem + extension_of(file)):
            candidates.setdefault(name, []).append(file)
    return candidates


def _nearest_files(candidates: dict[str, list[str]], video_id: str) -> list[str]:
    files = candidates.get(plain_name(video_id), [])
    return [file for file in files if file.count("/") == files[0].count("/")]


def _stem(file: str) -> str:
    """Name in composed letters without whatever extension."""
    return Path(plain_name(file)).stem


def _read_one(path: Path) -> pd.DataFrame:
    again = "Run probe_videos, or name the file that probe_videos or decode_frames wrote."
    table = read_table(path, what="video manifest", columns=MANIFEST_COLUMNS, again=again, error=VideoError)
    known = table[[column for column in DECODED_COLUMNS if column in table.columns]].copy()
    try:
        for column in known.columns:
            if column in _FLOAT_COLUMNS:
                known[column] = known[column].replace("", "nan").astype(np.float64)
            elif column not in _TEXT_COLUMNS:
                known[column] = pd.array([int(cell) if cell else pd.NA for cell in known[column]], dtype="Int64")
    except (ValueError, OverflowError) as error:
        raise VideoError(f"{path}: column {column} of a video manifest holds numbers ({error}).") from error
    return known
