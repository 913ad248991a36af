"""The stage `extract`: features of every video of a shard, resumable, one bad video a row and not a failure."""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm import tqdm

from vmr.errors import FeatureError, VmrError
from vmr.features.clips import WindowPlan, step_seconds
from vmr.features.extractors import Encoder, Extractor, build_extractor
from vmr.features.store import VideoFeatures, write_video
from vmr.files import atomic_path, sha256_json
from vmr.provenance import library_versions
from vmr.shard import PartialShard
from vmr.video.frames import FrameInfo, FrameStore
from vmr.video.manifest import read_manifest

log = logging.getLogger(__name__)

STATUS_COLUMNS = ["video_id", "status", "reason"]
_READ_CHUNK = 32
_QUEUED_PIECES = 2
_REASONS_SHOWN = 5
# What a damaged video or frame store raises; anything else is a fault of ours and stops the shard.
_VIDEO_ERRORS = (VmrError, OSError, ValueError, KeyError)


@dataclass(frozen=True)
class _Piece:
    video_id: str
    info: FrameInfo
    plan: WindowPlan
    slab: UInt8[Tensor, "T H W 3"]
    last: bool


@dataclass(frozen=True)
class _Failure:
    video_id: str
    reason: str


class _End:
    """Nothing more to read; `error` is what stopped the reader, if anything."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def extract_shard(
    *,
    frames: Path,
    manifest: Path,
    output: Path,
    statuses: Path,
    extractor: str,
    weights: Path | None,
    mean: Path | None = None,
    window: int,
    stride: int,
    mode: str = "windows",
    padding: str = "edge",
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    max_failed_share: float = 0.5,
    code_digest: str,
) -> None:
    """Extract the features of every decoded video of a shard.

    Interrupted at any moment and called again with the same settings, it goes on after the last finished video.

    Args:
        frames: frame store of the shard.
        manifest: its manifest after decoding.
        output: feature file to write (HDF5).
        statuses: CSV to write, one row a video: video_id, status (ok, missing, bad), reason.
        extractor: ``"i3d"``, ``"c3d"``, ``"i3d_r50"`` or ``"slow_r50"``.
        weights: file of its weights.
        mean: C3D's mean clip (.npy), or None for the mean by channel.
        window: frames of a window.
        stride: frames between two steps.
        mode: ``"windows"`` or ``"continuous"`` (I3D only).
        padding: ``"edge"`` or ``"valid"``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        dtype: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        batch_size: windows at once; None for a number that fits the memory.
        max_failed_share: largest share of the decoded videos that may fail here, from 0 to 1.
        code_digest: digest of the code that runs, for the provenance.

    Raises:
        FeatureError: weights are missing or foreign, options contradict, or too many videos failed.
        ShardError: the results cannot be written.
    """
    rows = read_manifest([manifest])
    network = build_extractor(
        extractor,
        weights_path=weights,
        mean_path=mean,
        window=window,
        stride=stride,
        mode=mode,
        padding=padding,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
    )
    with FrameStore(frames) as store:
        provenance = _provenance(network, store.provenance, code_digest)
        present = set(store.video_ids)
    shard = PartialShard(output, settings=provenance)
    fingerprints = {str(row["video_id"]): _fingerprint(row) for row in rows.to_dict("records")}
    todo: list[str] = []
    for row in rows.to_dict("records"):
        video_id = str(row["video_id"])
        if row["status"] != "ok":
            _keep(shard, fingerprints, video_id, str(row["status"]), _text(row["reason"]))
        elif video_id not in present:
            _keep(shard, fingerprints, video_id, "bad", "the manifest says decoded, but the frame store has no frames")
        elif (shard.done(video_id, fingerprints[video_id]) or {}).get("status") != "ok":
            todo.append(video_id)
    decoded = int((rows["status"] == "ok").sum())
    log.info("%s: %d videos, %d decoded, %d of them finished before", output, len(rows), decoded, decoded - len(todo))
    _extract_all(network, frames=frames, todo=todo, shard=shard, fingerprints=fingerprints)

    finished = [shard.done(video_id, fingerprint) or {} for video_id, fingerprint in fingerprints.items()]
    by_id = {row["video_id"]: row for row in finished}
    failed = [
        by_id[str(video_id)]
        for video_id in rows.loc[rows["status"] == "ok", "video_id"]
        if by_id[str(video_id)]["status"] != "ok"
    ]
    if decoded and len(failed) / decoded > max_failed_share:
        shown = "; ".join(f"{row['video_id']}: {row['reason']}" for row in failed[:_REASONS_SHOWN])
        raise FeatureError(
            f"{output}: {len(failed)} of {decoded} decoded videos failed, more than max_failed_share = "
            f"{max_failed_share} allows. First: {shown}. Mend the cause or raise the share; finished videos are kept."
        )
    table = pd.DataFrame(shard.finish(fingerprints, attributes={"provenance": provenance}), columns=STATUS_COLUMNS)
    with atomic_path(statuses) as temporary:
        table.to_csv(temporary, index=False)
    shard.clear()
    log.info("%s: %s", output, table["status"].value_counts().to_dict())


def _extract_all(
    extractor: Extractor, *, frames: Path, todo: list[str], shard: PartialShard, fingerprints: dict[str, str]
) -> None:
    """Encode the pieces that the reader hands over, and keep each video when its last piece is done."""
    encoder: Encoder | None = None
    parts: list[Tensor] = []
    waited, began = 0.0, time.perf_counter()
    with _reader(extractor, frames, todo) as pieces, tqdm(total=len(todo), unit="video", disable=None) as progress:
        while True:
            before = time.perf_counter()
            item = pieces.get()
            waited += time.perf_counter() - before
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                break
            if isinstance(item, _Failure):
                encoder, parts = None, []
                _keep(shard, fingerprints, item.video_id, "bad", item.reason)
                log.warning("%s: no features: %s", item.video_id, item.reason)
                progress.update()
                continue
            encoder = encoder or extractor.encoder(item.plan)
            slab = item.slab.to(extractor.device, non_blocking=True)
            parts.append(encoder.push(slab, last=item.last))
            if not item.last:
                continue
            try:
                video = _video_features(torch.cat(parts), item, padding=extractor.padding)
            except FeatureError as error:
                _keep(shard, fingerprints, item.video_id, "bad", str(error))
                log.warning("%s: no features: %s", item.video_id, error)
            else:
                row = {"video_id": item.video_id, "status": "ok", "reason": ""}
                shard.add(
                    item.video_id,
                    fingerprint=fingerprints[item.video_id],
                    row=row,
                    write=lambda file, video=video: write_video(file, video),  # type: ignore[misc]
                )
            encoder, parts = None, []
            progress.update()
    total = time.perf_counter() - began
    if todo:
        log.info(
            "%d videos in %.1f s; the network waited for frames %.1f %% of it", len(todo), total, 100 * waited / total
        )


def _video_features(features: Tensor, piece: _Piece, *, padding: str) -> VideoFeatures:
    plan = piece.plan
    if len(features) != plan.steps:
        raise FeatureError(f"expected {plan.steps} steps for {plan.num_frames} frames, found {len(features)}")
    # The stored frames, not the container, say how far the steps reach.
    duration = min(piece.info.duration_sec or np.inf, plan.num_frames / piece.info.fps)
    start, end = step_seconds(plan, fps=piece.info.fps, duration_sec=duration, padding=padding)
    return VideoFeatures(features.cpu().numpy(), start, end)


@contextmanager
def _reader(extractor: Extractor, frames: Path, todo: list[str]) -> Iterator["queue.Queue[_Piece | _Failure | _End]"]:
    """Run the reading, resizing and cropping of the next pieces beside the network, a bounded number ahead."""
    pieces: queue.Queue[_Piece | _Failure | _End] = queue.Queue(maxsize=_QUEUED_PIECES)
    stop = threading.Event()

    def hand_over(item: _Piece | _Failure | _End) -> bool:
        while not stop.is_set():
            try:
                pieces.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def read_all() -> None:
        try:
            with FrameStore(frames) as store:
                for video_id in todo:
                    try:
                        for piece in _pieces_of(extractor, store, video_id):
                            if not hand_over(piece):
                                return
                    except _VIDEO_ERRORS as error:
                        if not hand_over(_Failure(video_id, str(error) or type(error).__name__)):
                            return
            hand_over(_End())
        except BaseException as error:  # handed to the main thread, which raises it
            hand_over(_End(error))

    thread = threading.Thread(target=read_all, name="frame-reader", daemon=True)
    thread.start()
    try:
        yield pieces
    finally:
        stop.set()
        thread.join()


def _pieces_of(extractor: Extractor, store: FrameStore, video_id: str) -> Iterator[_Piece]:
    info = store.info(video_id)
    plan = extractor.plan(info.num_frames)
    held: UInt8[np.ndarray, "T H W 3"] | None = None
    for slab in extractor.pieces(store.read(video_id, chunk=_READ_CHUNK), plan):
        if held is not None:
            yield _Piece(video_id, info, plan, _pinned(held, extractor.device), last=False)
        held = slab
    if held is None:
        raise FeatureError("the frame store has no frames for it: decode it again")
    yield _Piece(video_id, info, plan, _pinned(held, extractor.device), last=True)


def _pinned(slab: UInt8[np.ndarray, "T H W 3"], device: torch.device) -> UInt8[Tensor, "T H W 3"]:
    tensor = torch.from_numpy(slab)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _keep(shard: PartialShard, fingerprints: dict[str, str], video_id: str, status: str, reason: str) -> None:
    row = {"video_id": video_id, "status": status, "reason": reason}
    shard.add(video_id, fingerprint=fingerprints[video_id], row=row)


def _fingerprint(row: dict[Any, Any]) -> str:
    """What identifies the decoded frames of a video: the row of its manifest, wherever the file lies."""
    return sha256_json({str(key): str(value) for key, value in row.items() if key != "path"})


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _provenance(extractor: Extractor, frames: dict[str, Any], code_digest: str) -> dict[str, Any]:
    return {
        **extractor.describe(),
        "pca": None,
        "frame_choice": frames.get("frame_choice"),
        "fps": frames.get("fps"),
        "frames": frames,
        "code_digest": code_digest,
        "versions": library_versions(["vmr", "torch", "numpy", "h5py", "pytorchvideo"]),
    }
