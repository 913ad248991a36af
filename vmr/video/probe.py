"""The stage `probe_videos`: what every video of a shard is, or why it cannot be used."""

import itertools
import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from vmr.annotations.moments import read_moments, video_durations
from vmr.annotations.units import wrong_unit
from vmr.config.sections import VideoSettings
from vmr.errors import AnnotationError, ConfigError, VideoError
from vmr.video.ffprobe import (
    SURPRISES,
    choose_stream,
    display_rotation,
    probe,
    rate,
    require_program,
    seconds,
    timeline_origin,
    unexpected,
)
from vmr.video.manifest import MANIFEST_COLUMNS, find_videos, why_missing, write_manifest
from vmr.video.timeline import MAX_HOURS, read_timeline, stream_end
from vmr.video_ids import shard_of

logger = logging.getLogger(__name__)

# 8192 x 8192, more than twice 8K: what damaged headers declare beyond it would cost gigabytes a frame.
MAX_PIXELS = 1 << 26
# Moments of a shard that tell the unit of its times; fewer may be slips, and training looks at all.
_FEWEST = 10
_FEW_SEC = 10.0  # for a video, where a few are asked while somebody waits


def probe_videos(
    *,
    moments: Path,
    videos: Path,
    shard: int,
    shards: int,
    output: Path,
    settings: VideoSettings,
    accept_wrong: bool = False,
) -> None:
    """Probe the videos of a shard that the annotations name, and write the manifest.

    Args:
        videos: the folder with the files; videos that are not there get the status `missing`.
        accept_wrong: go on where the times of the shard's moments cannot be seconds.

    Raises:
        AnnotationError: the table of moments cannot be read, or most moments begin after their videos end.
        VideoError: the folder of the videos is not there, or cannot be listed.
        ShardError: ffprobe is not installed, or the manifest cannot be written.
        ConfigError: there is no such shard.
    """
    if shard >= shards:
        raise ConfigError(f"--shard {shard}: shards are counted from 0; of {shards} the last one is {shards - 1}.")
    table = read_moments(moments)
    wanted = sorted({str(name) for name in table["video_id"] if shard_of(str(name), shards) == shard})
    if not videos.is_dir():
        # All of them would count as missing, and take finished frames and features along.
        raise VideoError(
            f"{videos}: there is no such folder of videos. Mount it, or correct `videos` of the dataset; an empty "
            "folder stands for videos that cannot be had."
        )
    files = find_videos(videos, wanted)
    reasons = why_missing(videos, [video_id for video_id in wanted if video_id not in files])
    rows: list[dict[str, Any]] = []
    require_program("ffprobe")
    for video_id in tqdm(wanted, desc="probing", unit="video", disable=None):
        if video_id in files:
            rows.append({"video_id": video_id, **probe_video(files[video_id], timeout_sec=settings.probe_timeout_sec)})
        else:
            told = f"no file of this name in {videos}{reasons[video_id]}"
            rows.append({"video_id": video_id, "status": "missing", "reason": told})
    if not accept_wrong:
        _refuse_other_unit(table[table["video_id"].isin(wanted)], rows, moments)
    write_manifest(rows, output, columns=MANIFEST_COLUMNS)
    counts = Counter(row["status"] for row in rows)
    numbers = (counts[status] for status in ("ok", "missing", "bad"))
    logger.info("shard %d of %d: %d videos, %d ok, %d missing, %d bad", shard, shards, len(rows), *numbers)
    for row in rows:
        if row["status"] == "bad":
            logger.warning("%s: %s", row["path"], row["reason"])


def _refuse_other_unit(table: pd.DataFrame, rows: list[dict[str, Any]], moments: Path) -> None:
    """Stop before hours of decoding where the videos say what no duration of the annotations said."""
    probed = {row["video_id"]: float(row["duration_sec"]) for row in rows if (row.get("duration_sec") or 0) > 0}
    durations = probed | video_durations(table)
    known = table[table["video_id"].isin(durations)]
    if len(known) >= _FEWEST and (reason := wrong_unit(known, durations)):
        raise AnnotationError(
            f"{moments}: {reason}. Give the times in seconds, or in a column whose header names the unit; "
            "`accept_wrong: true` in the dataset's section goes on all the same."
        )


def probe_video(path: Path, *, timeout_sec: float) -> dict[str, Any]:
    """Describe one file: the columns of a manifest row except the id; status `ok`, or `bad` with the reason."""
    row: dict[str, Any] = {"path": str(path), "status": "bad", "reason": ""}
    try:
        facts = path.stat()
        row |= {"size_bytes": facts.st_size, "mtime_ns": facts.st_mtime_ns}
        if not path.is_file():
            raise VideoError("not a regular file")
        if facts.st_size == 0:
            raise VideoError("the file is empty")
        described = probe(path, timeout_sec=timeout_sec)
        streams = described.get("streams", [])
        stream = choose_stream(streams)
        if stream is None:
            kinds = sorted({str(stream.get("codec_type", "unknown")) for stream in streams})
            raise VideoError(f"no video stream (the file has: {', '.join(kinds) or 'nothing'})")
        row |= _describe(stream, described.get("format", {}))
        if not row["codec"]:
            raise VideoError("ffprobe does not know the video codec")
        if not (row["width"] > 0 and row["height"] > 0):
            raise VideoError("the size of the picture is unknown: the file may be cut off or damaged")
        if row["width"] * row["height"] > MAX_PIXELS:
            raise VideoError(
                f"the picture of {row['width']}x{row['height']} has more than {MAX_PIXELS // 10**6} million pixels"
            )
        if row["duration_sec"] is None or row["num_frames"] == 0:
            timeline = read_timeline(path, timeout_sec=timeout_sec)
            row |= {"duration_sec": timeline.end_sec, "num_frames": len(timeline.times_sec)}
    except (OSError, VideoError) as error:
        return row | {"status": "bad", "reason": str(error)}
    except SURPRISES as error:
        logger.exception("%s: unexpected failure", path)
        return row | {"status": "bad", "reason": unexpected(error)}
    return row | {"status": "ok"}


def probed_durations(files: Mapping[str, Path], *, most: int) -> dict[str, float]:
    """Seconds of the first `most` videos that can be probed, by id: some milliseconds each; none without ffprobe."""
    if shutil.which("ffprobe") is None:
        return {}
    rows = {name: probe_video(path, timeout_sec=_FEW_SEC) for name, path in itertools.islice(files.items(), most)}
    return {name: float(row["duration_sec"]) for name, row in rows.items() if row["status"] == "ok"}


def _describe(stream: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    origin = timeline_origin(container, stream)
    rotation = display_rotation(stream)
    width, height = int(stream.get("width", 0)), int(stream.get("height", 0))
    if rotation in (90, 270):
        width, height = height, width
    fps = rate(stream.get("avg_frame_rate"))
    if fps != fps:
        fps = rate(stream.get("r_frame_rate"))
    duration = stream_end(stream, origin_sec=origin)
    declared = seconds(stream.get("nb_frames"))
    if container.get("format_name") == "avi" and declared and fps > 0:
        # Of a file that was cut off, ffprobe says how long what is left lasts; its header says how many frames it had.
        duration = max(duration or 0.0, declared / fps)
    return {
        # A length that no packet reaches is no better than none: what the packets say is asked then.
        "duration_sec": duration if duration is not None and 0 < duration <= MAX_HOURS * 3600 else None,
        "start_sec": origin,
        "fps": fps,
        "num_frames": int(declared) if declared else 0,
        "width": width,
        "height": height,
        "rotation": rotation,
        "codec": stream.get("codec_name", ""),
    }
