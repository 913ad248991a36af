"""Features of one video file, made as the workflow makes them: probed, decoded to the frame store, extracted."""

import dataclasses
import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vmr.config.feature_sections import ExtractorSettings
from vmr.config.sections import VideoSettings
from vmr.errors import FeatureError, VideoError
from vmr.features.extract import video_features
from vmr.features.extractors import Extractor, build_extractor
from vmr.features.pca import Pca
from vmr.features.read_ahead import End, Failure, read_ahead
from vmr.features.store import VideoFeatures
from vmr.locate.scratch import scratch_folder
from vmr.machine.devices import choose_device
from vmr.names import frame_choice_of
from vmr.pipeline.stages import STAGES
from vmr.storage.code_digest import code_digest
from vmr.storage.files import atomic_path, sha256_file, writing
from vmr.video.decode import decode_frames
from vmr.video.ffprobe import require_program
from vmr.video.manifest import MANIFEST_COLUMNS, read_manifest, write_manifest
from vmr.video.probe import probe_video

log = logging.getLogger(__name__)

# Called with the current step, how much of it is done, and all of it (0: unknown).
Progress = Callable[[str, int, int], None]
_ID = "video"
_SUFFIXES = {"weights": ".safetensors", "mean": ".npy"}
_RECIPE = ("extractor", "window", "stride", "mode", "padding", "fps", "crop", "resize", "input", "feature", "mean")


@dataclasses.dataclass(frozen=True)
class Making:
    """How features are made."""

    features: dict[str, Any]  # the provenance of such features: extractor, its settings, weights, frames
    # the extractor's files by role (``weights``, ``mean``): their bytes, or where they lie; empty where imported
    files: Mapping[str, bytes | Path]
    pca: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)  # ``mean`` and ``components``; empty: none


def recipe(made: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that features depend on besides the video, for the cache: settings, weights and code.

    Args:
        made: their provenance.

    Raises:
        FeatureError: the features were imported, and their settings are unknown.
    """
    if not made.get("frames") or not isinstance(made.get("weights"), dict):
        raise FeatureError(
            f"the model was trained on imported features ({made.get('extractor')}), so that it cannot look at a video "
            "itself. Give features of the same kind with --features."
        )
    frames = made["frames"]
    return {
        **{name: made.get(name) for name in _RECIPE},
        "weights": made["weights"]["sha256"],
        "pca": made.get("pca"),
        "frames": {name: frames.get(name) for name in ("fps", "short_side", "encoder", "scaling", "frame_choice")},
        "code": [STAGES["decode_frames"].digest(), STAGES[f"extract_{made['extractor']}"].digest()],
        "here": code_digest(
            ["vmr.locate.extraction"],
            without=[
                "vmr.config",
                "vmr.errors",
                "vmr.pipeline.stages",
                "vmr.storage.code_digest",
                "vmr.locate.scratch",
            ],
        ),
    }


class VideoFeaturizer:
    """Makes features of video files, one at a time; what it unpacks lies in the cache."""

    def __init__(self, making: Making, *, folder: Path, device: str = "auto") -> None:
        recipe(making.features)  # refuses imported features
        self._making, self._folder, self._device = making, folder, device
        self._extractor: Extractor | None = None
        self._lock = threading.Lock()

    def __call__(self, video: Path, progress: Progress) -> VideoFeatures:
        """Features of a file, in bounded memory whatever its length.

        Raises:
            VideoError: the file is missing or cannot be decoded.
            FeatureError: the video has no usable features.
        """
        with self._lock:
            progress("looking at the file", 0, 0)
            if not video.is_file():
                raise VideoError(f"{video}: there is no such file.")
            require_program("ffprobe")
            row = {"video_id": _ID, **probe_video(video, timeout_sec=VideoSettings().probe_timeout_sec)}
            if row["status"] != "ok":
                raise VideoError(f"{video}: {row['reason']}. Try another file.")
            self._folder.mkdir(parents=True, exist_ok=True)
            with scratch_folder(self._folder, purpose="decoding") as folder:
                frames = self._decode(video, row, folder, progress)
                return self._extract(video, frames, progress)

    def _decode(self, video: Path, row: dict[str, Any], folder: Path, progress: Progress) -> Path:
        progress("decoding", 0, 0)
        made = self._making.features["frames"]
        write_manifest([row], folder / "probed.csv", columns=MANIFEST_COLUMNS)
        decode_frames(
            manifest=folder / "probed.csv",
            output=folder / "frames.h5",
            decoded_manifest=folder / "decoded.csv",
            settings=VideoSettings(
                fps=made["fps"],
                frame_choice=frame_choice_of(made),
                short_side=made["short_side"],
                max_failed_share=1.0,
            ),
            progress=lambda done, total: progress("decoding", done, total),
        )
        decoded = read_manifest([folder / "decoded.csv"]).iloc[0]
        if decoded["status"] != "ok":
            raise VideoError(f"{video}: {decoded['reason']}. Try another file.")
        if decoded["note"]:
            log.warning("%s: %s", video, decoded["note"])
        return folder / "frames.h5"

    def _extract(self, video: Path, frames: Path, progress: Progress) -> VideoFeatures:
        extractor = self._extractor = self._extractor or self._build()
        encoder, parts, done = None, [], 0
        with read_ahead(extractor, frames, [_ID]) as pieces:
            while True:
                item = pieces.get()
                if isinstance(item, End):
                    raise item.error or FeatureError(f"{video}: the reader ended before the video did.")
                if isinstance(item, Failure):
                    raise FeatureError(f"{video}: {item.reason}")
                encoder = encoder or extractor.encoder(item.plan)
                parts.append(encoder.push(item.frames(), last=item.last).cpu())
                done += len(parts[-1])
                progress("features", done, item.plan.steps)
                if item.last:
                    found = video_features(torch.cat(parts), item, padding=extractor.padding)
                    return self._reduced(found, extractor.device)

    def _reduced(self, video: VideoFeatures, device: torch.device) -> VideoFeatures:
        if not self._making.pca:
            return video
        mean, components = (self._making.pca[name].numpy() for name in ("mean", "components"))
        pca = Pca(mean, components, np.full(len(components), np.nan), float("nan"), 0)
        return dataclasses.replace(video, features=pca.on(device)(video.features))

    def _build(self) -> Extractor:
        made = self._making.features
        paths = {
            role: held if isinstance(held, Path) else unpacked(held, _SUFFIXES[role], self._folder)
            for role, held in self._making.files.items()
        }
        settings = ExtractorSettings(
            weights=str(paths["weights"]),
            mean=str(paths["mean"]) if "mean" in paths else None,
            window=made["window"],
            stride=made["stride"],
            mode=made["mode"],
            padding=made["padding"],
            crop=int(made["crop"].rpartition(" ")[2]) if made["extractor"] == "i3d" and "crop" in made else None,
        )
        return build_extractor(made["extractor"], settings, device=choose_device(self._device))


def unpacked(content: bytes, suffix: str, cache: Path) -> Path:
    """A file in the cache with a part of a model, since extractors are built from files."""
    digest = hashlib.sha256(content).hexdigest()
    path = cache / "weights" / f"{digest}{suffix}"
    if not path.is_file() or sha256_file(path) != digest:
        with writing(path), atomic_path(path) as temporary:
            temporary.write_bytes(content)
    return path
