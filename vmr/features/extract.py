"""The stage `extract`: features of every video of a shard, resumable, one bad video a row and not a failure."""

import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from vmr.config.extractors import ExtractorName
from vmr.config.feature_sections import ExtractorSettings
from vmr.errors import DamageError, FeatureError, VmrError
from vmr.features.clips import step_seconds
from vmr.features.extractors import Extractor, build_extractor
from vmr.features.fidelity import compared_videos, cosine_to_exact_window
from vmr.features.pace import Pace
from vmr.features.read_ahead import End, Failure, Piece, read_ahead
from vmr.features.store import VideoFeatures, write_video
from vmr.features.window_encoders import StreamEncoder, WindowEncoder
from vmr.machine.devices import claim_device
from vmr.machine.memory import give_back_freed_memory, keep_freed_memory
from vmr.names import Padding
from vmr.storage.files import sha256_json
from vmr.storage.provenance import library_versions, without_machine
from vmr.storage.records import write_table
from vmr.storage.shard import PartialShard
from vmr.video.frames import FrameStore
from vmr.video.manifest import read_manifest

log = logging.getLogger(__name__)

STATUS_COLUMNS = ["video_id", "status", "reason"]
_REASONS_SHOWN = 5
# New pages for a video in so many cost nothing that can be measured.
_VIDEOS_BETWEEN_TRIMS = 25


def extract_shard(
    *,
    frames: Path,
    manifest: Path,
    output: Path,
    statuses: Path,
    extractor: ExtractorName,
    settings: ExtractorSettings,
    code_digest: str,
) -> None:
    """Extract the features of every decoded video of a shard.

    Interrupted at any moment and called again with the same settings, it goes on after the last finished video.

    Args:
        statuses: CSV to write, one row a video: video_id, status (ok, missing, bad), reason.

    Raises:
        FeatureError: weights are missing or foreign, options contradict, or too many videos failed.
        DamageError: the frame store was altered: what it lost is no fault of the videos.
        ShardError: the results cannot be written.
    """
    rows = read_manifest([manifest])
    network = build_extractor(extractor, settings, device=claim_device(settings.device))
    if network.device.type == "cpu":
        keep_freed_memory()
    with FrameStore(frames) as store:
        # Names that were altered would be videos without frames, and missing from the results.
        store.check_contents()
        provenance = _provenance(network, store.provenance, code_digest)
        present = set(store.video_ids)
    # A job that was moved to another card goes on with what it finds.
    with PartialShard(output, settings=without_machine(provenance)) as shard:
        fingerprints = {str(row["video_id"]): _fingerprint(row) for row in rows.to_dict("records")}
        if (kept := shard.finished(fingerprints)) is not None:
            _write_statuses(kept, statuses)
            log.info("%s is finished already; delete it and its .kept to extract its features again", output)
            shard.clear()
            return
        todo: list[str] = []
        for row in rows.to_dict("records"):
            video_id = str(row["video_id"])
            if row["status"] != "ok":
                _keep(shard, fingerprints, video_id, str(row["status"]), str(row["reason"]))
            elif video_id not in present:
                _keep(
                    shard, fingerprints, video_id, "bad", "the manifest says decoded, but the frame store has no frames"
                )
            elif (shard.done(video_id, fingerprints[video_id]) or {}).get("status") != "ok":
                todo.append(video_id)
        decoded_ids = [str(video_id) for video_id in rows.loc[rows["status"] == "ok", "video_id"]]
        decoded = len(decoded_ids)
        log.info(
            "%s: %d videos, %d decoded, %d of them finished before", output, len(rows), decoded, decoded - len(todo)
        )
        compared = compared_videos(decoded_ids) if network.mode == "continuous" else set()
        lengths = rows.reindex(columns=["decoded_frames"])[rows["video_id"].isin(todo)].fillna(0)["decoded_frames"]
        pace = Pace(network, [int(length) for length in lengths])
        _extract_all(
            network, frames=frames, todo=todo, compared=compared, shard=shard, fingerprints=fingerprints, pace=pace
        )
        pace.tell()

        finished = [shard.done(video_id, fingerprint) or {} for video_id, fingerprint in fingerprints.items()]
        by_id = {row["video_id"]: row for row in finished}
        failed = [by_id[video_id] for video_id in decoded_ids if by_id[video_id]["status"] != "ok"]
        if decoded and len(failed) / decoded > settings.max_failed_share:
            shown = "; ".join(f"{row['video_id']}: {row['reason']}" for row in failed[:_REASONS_SHOWN])
            raise FeatureError(
                f"{output}: {len(failed)} of {decoded} decoded videos failed, more than max_failed_share = "
                f"{settings.max_failed_share} allows. First: {shown}. Mend the cause or raise the share; finished "
                "videos are kept."
            )
        # Before the features, whose presence then says that all is done.
        table = _write_statuses([by_id[video_id] for video_id in sorted(by_id)], statuses)
        shard.finish(by_id, attributes={"provenance": provenance}, fingerprints=None if failed else fingerprints)
        shard.clear()
        log.info("%s: %s", output, table["status"].value_counts().to_dict())


def _extract_all(
    extractor: Extractor,
    *,
    frames: Path,
    todo: list[str],
    compared: set[str],
    shard: PartialShard,
    fingerprints: dict[str, str],
    pace: Pace,
) -> None:
    """Encode the pieces that the reader hands over, and keep each video when its last piece is done."""
    encoder: WindowEncoder | StreamEncoder | None = None
    parts: list[Tensor] = []
    kept, began = 0, time.perf_counter()
    with (
        read_ahead(extractor, frames, todo) as pieces,
        FrameStore(frames) as store,
        tqdm(total=len(todo), unit="video", disable=None) as progress,
    ):
        while True:
            before = time.perf_counter()
            item = pieces.get()
            pace.waited += time.perf_counter() - before
            if isinstance(item, End):
                if item.error is not None:
                    raise item.error
                break
            if isinstance(item, Failure):
                encoder, parts = None, []
                _keep(shard, fingerprints, item.video_id, "bad", item.reason)
                log.warning("%s: no features: %s", item.video_id, item.reason)
                progress.update()
                continue
            encoder = encoder or extractor.encoder(item.plan)
            parts.append(encoder.push(slab := item.frames(), last=item.last))
            pace.took(len(slab))
            if not item.last:
                continue
            try:
                video = video_features(torch.cat(parts), item, padding=extractor.padding)
                if item.video_id in compared:
                    cosine = cosine_to_exact_window(extractor, store, item.video_id, video)
                    video = replace(video, exact_cosine=cosine)
            except DamageError:  # of the frame store: no fault of the video, which would be left out
                raise
            except VmrError as error:
                _keep(shard, fingerprints, item.video_id, "bad", str(error))
                log.warning("%s: no features: %s", item.video_id, error)
            else:
                _keep(shard, fingerprints, item.video_id, "ok", "", write=partial(write_video, video=video))
            encoder, parts, kept = None, [], kept + 1
            progress.update()
            if extractor.device.type == "cpu" and kept % _VIDEOS_BETWEEN_TRIMS == 0:
                give_back_freed_memory()
    total = time.perf_counter() - began
    if todo:
        share = 100 * pace.waited / total
        log.info("%d videos in %.1f s; the network waited for frames %.1f %% of it", len(todo), total, share)


def video_features(features: Tensor, piece: Piece, *, padding: Padding) -> VideoFeatures:
    """Features of a video with the seconds of their steps.

    Raises:
        FeatureError: there are more or fewer steps than were planned, or a number is not finite.
    """
    plan = piece.plan
    if len(features) != plan.steps:
        raise FeatureError(f"expected {plan.steps} steps for {plan.num_frames} frames, found {len(features)}")
    # The stored frames, not the container, say how far the steps reach.
    duration = min(piece.info.duration_sec or np.inf, plan.num_frames / piece.info.fps)
    start, end = step_seconds(plan, fps=piece.info.fps, duration_sec=duration, padding=padding)
    return VideoFeatures(features.cpu().numpy(), start, end)


def _keep(
    shard: PartialShard, fingerprints: dict[str, str], video_id: str, status: str, reason: str, **write: Any
) -> None:
    row = {"video_id": video_id, "status": status, "reason": reason}
    shard.add(video_id, fingerprint=fingerprints[video_id], row=row, **write)


def _write_statuses(rows: list[dict[str, Any]], path: Path) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=STATUS_COLUMNS)
    write_table(path, table)
    return table


def _fingerprint(row: dict[Any, Any]) -> str:
    """What identifies the decoded frames of a video: the row of its manifest, wherever the file lies."""
    return sha256_json({str(key): str(value) for key, value in row.items() if key != "path"})


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
