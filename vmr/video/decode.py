"""The stage `decode_frames`: the videos of a shard to frames at a fixed rate and size in the frame store."""

import errno
import logging
import queue
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from vmr.config.sections import VideoSettings
from vmr.errors import ShardError, VideoError
from vmr.machine.use_log import cores_told
from vmr.storage.files import writing
from vmr.storage.provenance import library_versions
from vmr.storage.shard import PartialShard
from vmr.video.ffprobe import SURPRISES, require_program, unexpected
from vmr.video.frames import FrameInfo, write_video
from vmr.video.manifest import DECODED_COLUMNS, read_manifest, write_manifest
from vmr.video.processes import DecordServer
from vmr.video.reader import DecodedVideo, Picture, decode_video
from vmr.video.stream import ENCODER, SCALING, check_encoder, ffmpeg_version
from vmr.video.timeline import refuse_endless

logger = logging.getLogger(__name__)

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_SHOWN = 10  # failures that an error lists; the manifest holds all


def decode_frames(
    *,
    manifest: Path,
    output: Path,
    decoded_manifest: Path,
    settings: VideoSettings,
    workers: int = 1,
    code_digest: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Decode the videos of a shard into the frame store; a killed run goes on where it was.

    Args:
        output: the frame store to write; an empty one when no video is there.
        decoded_manifest: the manifest to write: the same rows with `decoder`, `decoded_frames` and `note`, the status
            after decoding, and the duration of the frames where it is longer than the declared one.
        workers: videos decoded at the same time, at least 1; each takes a decoder and an encoder of one thread.
        code_digest: digest of the code, for the provenance; parts made by other code are thrown away.
        progress: told of how many frames of a video are kept so far, and of how many there will be.

    Raises:
        VideoError: the manifest cannot be read.
        ShardError: too many videos fail, a file cannot be written, or ffmpeg or its H.264 encoder is missing.
    """
    require_program("ffmpeg")
    made = {
        "code_digest": code_digest,
        "fps": settings.fps,
        "short_side": settings.short_side,
        "encoder": ENCODER,
        "scaling": SCALING,
        "frame_choice": settings.frame_choice,
    }
    rows = [_plain(row) for row in read_manifest([manifest]).astype(object).to_dict("records")]
    with PartialShard(output, settings=made) as shard, cores_told(workers):
        fingerprints = {row["video_id"]: _fingerprint(row) for row in rows}
        if (finished := shard.finished(fingerprints)) is not None:
            paths = {row["video_id"]: row["path"] for row in rows}
            kept = [{**outcome, "path": paths[outcome["video_id"]]} for outcome in finished]
            write_manifest(kept, decoded_manifest, columns=DECODED_COLUMNS)
            logger.info("%s is finished already; delete it and its .kept to decode its videos again", output)
            shard.clear()
            return
        before = {row["video_id"]: _outcome_before(shard, row) for row in rows}
        outcomes = {video_id: outcome for video_id, outcome in before.items() if outcome is not None}
        pending = [row for row in rows if row["video_id"] not in outcomes]
        if pending:
            check_encoder()
        task = _Task(settings, shard, progress)
        with tqdm(
            total=len(rows), initial=len(rows) - len(pending), desc="decoding", unit="video", disable=None
        ) as bar:
            for outcome in _decode_all(pending, task=task, workers=workers):
                outcomes[outcome["video_id"]] = outcome
                bar.update()
        _refuse_too_many_failures(list(outcomes.values()), output=output, max_failed_share=settings.max_failed_share)
        provenance = {
            **made,
            "versions": {"ffmpeg": ffmpeg_version(), **library_versions(["decord", "ffmpeg-python", "h5py", "numpy"])},
        }
        kept = [outcomes[video_id] for video_id in sorted(outcomes)]
        # Before the frame store, whose presence then says that all is done.
        write_manifest(kept, decoded_manifest, columns=DECODED_COLUMNS)
        failed = any(outcomes[row["video_id"]]["status"] == "bad" for row in pending)
        shard.finish(outcomes, attributes={"provenance": provenance}, fingerprints=None if failed else fingerprints)
        shard.clear()
        _log_outcomes(kept, output)


@dataclass(frozen=True)
class _Task:
    settings: VideoSettings
    shard: PartialShard
    progress: Callable[[int, int], None]
    ended: threading.Event = field(default_factory=threading.Event)

    def told(self, done: int, total: int) -> None:
        if self.ended.is_set():
            raise KeyboardInterrupt
        self.progress(done, total)


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}


def _fingerprint(row: dict[str, Any]) -> str:
    parts = ("status", "size_bytes", "mtime_ns", "duration_sec", "width", "height", "rotation")
    return ":".join(str(row[part]) for part in parts)


def _outcome_before(shard: PartialShard, row: dict[str, Any]) -> dict[str, Any] | None:
    """Row after decoding of a video with which there is nothing left to do; None for one to be decoded."""
    if row["status"] != "ok":
        outcome = {**row, "decoder": "", "decoded_frames": 0, "note": ""}
        shard.add(row["video_id"], fingerprint=_fingerprint(row), row=outcome)
        return outcome
    kept = shard.done(row["video_id"], _fingerprint(row))
    # Failures are tried again: a longer time limit or a file system that is back may help.
    return {**kept, "path": row["path"]} if kept is not None and kept["status"] == "ok" else None


def _decode_all(rows: list[dict[str, Any]], *, task: _Task, workers: int) -> Iterator[dict[str, Any]]:
    """Rows after decoding, in the order in which the videos get ready; each is kept by then."""
    idle: queue.SimpleQueue[DecordServer] = queue.SimpleQueue()
    with ExitStack() as stack, ThreadPoolExecutor(workers) as pool:
        for _ in range(min(workers, len(rows))):
            idle.put(stack.enter_context(DecordServer()))
        running = {pool.submit(_decode_one, row, task, idle) for row in rows}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                # What is finished is handed on before a failure of the shard ends the loop.
                for future in sorted(finished, key=lambda done: done.exception() is not None):
                    yield future.result()
        except KeyboardInterrupt:
            task.ended.set()  # a film of an hour would be decoded to its end first
            raise
        finally:
            for future in running:
                future.cancel()


def _decode_one(row: dict[str, Any], task: _Task, idle: queue.SimpleQueue[DecordServer]) -> dict[str, Any]:
    """Decode a video and keep it: a worker takes the next one when this one is safe, so that a kill costs one each."""
    decord = idle.get()
    try:
        with (
            writing(task.shard.path),
            tempfile.NamedTemporaryFile(dir=task.shard.folder, prefix=".", suffix=".h264") as stream_file,
        ):
            return _decode_and_keep(row, task, decord, Path(stream_file.name))
    finally:
        idle.put(decord)


def _decode_and_keep(row: dict[str, Any], task: _Task, decord: DecordServer, stream_file: Path) -> dict[str, Any]:
    try:
        result = _decode(row, task, decord, stream_file)
    except VideoError as error:
        outcome = {**row, "status": "bad", "reason": str(error), "decoder": "", "decoded_frames": 0, "note": ""}
        logger.warning("%s: %s", row["path"], error)
        task.shard.add(row["video_id"], fingerprint=_fingerprint(row), row=outcome)
        return outcome
    outcome = {
        **row,
        # Spans are clamped to it where the annotations say nothing, so it must not be shorter than the frames.
        "duration_sec": result.video_sec,
        "decoder": result.decoder,
        "decoded_frames": result.num_frames,
        "note": result.note,
    }
    info = FrameInfo(
        num_frames=result.num_frames,
        width=result.width,
        height=result.height,
        fps=task.settings.fps,
        duration_sec=result.duration_sec,
        start_sec=float(row["start_sec"] or 0.0),
    )
    with stream_file.open("rb") as stream:
        task.shard.add(
            row["video_id"],
            fingerprint=_fingerprint(row),
            row=outcome,
            write=lambda part: write_video(part, stream, info),
        )
    return outcome


def _decode(row: dict[str, Any], task: _Task, decord: DecordServer, target: Path) -> DecodedVideo:
    try:
        picture = Picture(
            path=Path(row["path"]),
            width=int(row["width"]),
            height=int(row["height"]),
            rotation=int(row["rotation"]),
            duration_sec=float(row["duration_sec"]),
        )
        refuse_endless(picture.duration_sec)  # the time limit follows from it
        return decode_video(
            decord,
            picture,
            target=target,
            fps=task.settings.fps,
            frame_choice=task.settings.frame_choice,
            short_side=task.settings.short_side,
            timeout_sec=task.settings.decode_timeout_sec,
            progress=task.told,
        )
    except SURPRISES as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        logger.exception("%s: unexpected failure", row["video_id"])
        raise VideoError(unexpected(error)) from error


def _refuse_too_many_failures(outcomes: list[dict[str, Any]], *, output: Path, max_failed_share: float) -> None:
    bad = [outcome for outcome in outcomes if outcome["status"] == "bad"]
    present = sum(outcome["status"] != "missing" for outcome in outcomes)
    if len(bad) <= max_failed_share * present:
        return
    listed = "".join(f"\n  {outcome['path']}: {outcome['reason']}" for outcome in bad[:_SHOWN])
    more = f"\n  and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    raise ShardError(
        f"{output}: {len(bad)} of {present} videos cannot be used; at most {max_failed_share:.0%} may fail. Replace "
        f"them, or raise max_failed_share; what was decoded is kept.{listed}{more}"
    )


def _log_outcomes(rows: list[dict[str, Any]], output: Path) -> None:
    counts = Counter(word for row in rows for word in (row["status"], row["decoder"]))
    counts["frames"] = sum(row["decoded_frames"] for row in rows)
    logger.info(
        "%s: %d videos, %d decoded (%d by decord, %d by ffmpeg), %d frames, %d missing, %d bad",
        *(output, len(rows), *(counts[word] for word in ("ok", "decord", "ffmpeg", "frames", "missing", "bad"))),
    )
    for row in rows:
        if row["note"]:
            logger.info("%s: %s", row["video_id"], row["note"])
