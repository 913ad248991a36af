"""HDF5 files of features: one dataset a video, the seconds of its steps beside it, provenance in the file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, Float64

from vmr.errors import REPAIR, DamageError, FeatureError
from vmr.storage.checksums import UNREADABLE, read_sealed
from vmr.storage.hdf5 import HeldFile

FEATURES, START, END = "features", "start_sec", "end_sec"
GROUPS = (FEATURES, START, END)
COVERAGE_COLUMNS = ["video_id", "status", "reason", "steps"]  # of the table beside a file of all videos
_SHARDS_HELD = 64
_EXACT_STEP, _EXACT_COSINE = "exact_step", "cosine_to_exact_window"


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video, one vector a step."""

    features: Float32[np.ndarray, "..."]  # (N, D); shapes are checked below, with a message for users
    start_sec: Float64[np.ndarray, "..."]  # beginning of the interval that each step owns, in seconds
    end_sec: Float64[np.ndarray, "..."]  # its end
    # of one pass: a step, and the cosine between its vector and that of the exact window; else None
    exact_cosine: tuple[int, float] | None = None
    digest: str = ""  # of what was read, the same for the same content; empty where nothing was

    def __post_init__(self) -> None:
        """Refuse what no reader should meet.

        Raises:
            FeatureError: shapes disagree, there is no step, a number is not finite, or time runs backwards.
        """
        steps = len(self.start_sec)
        if self.features.ndim != 2 or steps < 1 or self.features.shape[0] != steps or len(self.end_sec) != steps:
            raise FeatureError(
                f"expected (N, D) features with N start and end seconds and N >= 1, found features of shape "
                f"{self.features.shape}, {steps} starts and {len(self.end_sec)} ends"
            )
        if not np.isfinite(self.features).all():
            bad = int((~np.isfinite(self.features)).any(axis=1).sum())
            raise FeatureError(f"{bad} of {steps} feature vectors hold NaN or infinity")
        if not np.isfinite(self.start_sec).all() or not np.isfinite(self.end_sec).all():
            raise FeatureError("the seconds of the steps hold NaN or infinity")
        ends_fall = (self.end_sec[1:] < self.end_sec[:-1]).any()
        if ends_fall or (self.end_sec < self.start_sec).any() or (self.start_sec[1:] < self.start_sec[:-1]).any():
            raise FeatureError("the steps are not in the order of time")


def write_video(file: h5py.File, video: VideoFeatures) -> None:
    """Write one video at the top of a part of a shard (see `vmr.storage.shard.PartialShard`)."""
    features = file.create_dataset(FEATURES, data=np.asarray(video.features, dtype=np.float32))
    if video.exact_cosine is not None:
        features.attrs[_EXACT_STEP], features.attrs[_EXACT_COSINE] = video.exact_cosine
    file.create_dataset(START, data=np.asarray(video.start_sec, dtype=np.float64))
    file.create_dataset(END, data=np.asarray(video.end_sec, dtype=np.float64))


class FeatureStore(HeldFile):
    """Features of a dataset or shard, read video by video.

    Every access raises `FeatureError` for a file that is missing or of another kind, and `DamageError` for an
    unreadable one.

    Args:
        path: a shard or a merged file; external links are followed relative to its own place.
    """

    _of_videos, _error, _unreadable = FEATURES, FeatureError, "not a readable HDF5 file"
    _absent = "no such feature file. Run the extraction (or import) that makes it."

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._shards: dict[Path, h5py.File] = {}  # that its links lead to, as far as they are held

    def _refuse_another_kind(self, file: h5py.File) -> None:
        """Frame stores and query stores have a provenance, too; a shard of which no video was decoded has no groups."""
        told = "provenance" in file.attrs
        if not told or (FEATURES not in file and "extractor" not in json.loads(file.attrs["provenance"])):
            found = ", ".join(list(file)[:5]) or "nothing"
            raise FeatureError(
                f"{self.path}: expected groups {', '.join(GROUPS)} and the attribute provenance, naming an extractor; "
                f"found {found}{', and the provenance of something else' if told else ''}. Features made elsewhere are "
                "taken in by the import."
            )

    def close(self) -> None:
        """Close the file; a later access opens it again."""
        self._shards.clear()
        super().close()

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        with self._reading("the length of its vectors, dim in its provenance,"):
            return int(self.provenance["dim"])

    def steps(self, video_id: str) -> int:
        """Number of steps of a video, without reading its features."""
        dataset = self._dataset(FEATURES, video_id)
        with self._reading(f"the {FEATURES} of {video_id}"):
            return int(dataset.shape[0])

    def exact_cosines(self) -> dict[str, tuple[int, float]]:
        """Videos of which one step was also computed as an exact window: the step, and the cosine of the two."""
        found = {}
        for video_id in self.video_ids:
            dataset = self._dataset(FEATURES, video_id)
            with self._reading(f"the {FEATURES} of {video_id}"):
                attributes = h5py.Dataset(dataset).attrs
                if _EXACT_COSINE in attributes:
                    found[video_id] = int(attributes[_EXACT_STEP]), float(attributes[_EXACT_COSINE])
        return found

    def get(self, video_id: str) -> VideoFeatures:
        """Features of one video, in single precision whatever the file holds.

        Raises:
            FeatureError: the video has none, its shard is missing or damaged, or its values are unusable.
            DamageError: they are others than were written.
        """
        (features, start_sec, end_sec), digests = zip(*(self._sealed(group, video_id) for group in GROUPS), strict=True)
        try:
            with self._reading(f"the {FEATURES} of {video_id}"):  # of a file without checksums: no numbers any more
                return VideoFeatures(
                    np.asarray(features, dtype=np.float32),
                    np.asarray(start_sec, dtype=np.float64),
                    np.asarray(end_sec, dtype=np.float64),
                    digest=" ".join(digests),
                )
        except FeatureError as error:
            raise FeatureError(f"{self.path}: {video_id}: {error}. Make or import its features again.") from error

    def arrays(self, video_id: str) -> tuple[Any, Any, Any]:
        """Features, starts and ends of a video's steps as they lie in the file, unchecked.

        Raises:
            FeatureError: the video has none, or its shard is missing or damaged.
            DamageError: they cannot be read any more.
        """
        with self._reading(f"what it holds of {video_id}"):
            features, start_sec, end_sec = (h5py.Dataset(self._dataset(group, video_id))[()] for group in GROUPS)
            return features, start_sec, end_sec

    def _sealed(self, group: str, video_id: str) -> tuple[Any, str]:
        """What a dataset holds, and its checksum."""
        dataset = self._dataset(group, video_id)
        with self._reading(f"the {group} of {video_id}"):
            content, digest, is_altered = read_sealed(dataset)
        if is_altered:
            file = h5py.h5f.get_name(dataset).decode("utf-8")  # of the shard, where they are linked
            raise DamageError(
                f"{file}: the {group} of {video_id} are not what was written there: their checksum differs. {REPAIR}"
            )
        return content, digest

    def _dataset(self, group: str, video_id: str) -> h5py.h5d.DatasetID:
        if not self._has(group, video_id):
            raise FeatureError(f"{self.path}: no {group} for the video {video_id} among {len(self.video_ids)} videos.")
        members, name, shard = self._groups[group].id, video_id.encode("utf-8"), self.path
        with self._reading(f"what it holds of {video_id}"):
            if members.links.get_info(name).type != h5py.h5l.TYPE_EXTERNAL:
                return h5py.h5d.open(members, name)
        try:
            target, inside = members.links.get_val(name)
            shard = self.path.parent / target.decode("utf-8")
            return h5py.h5d.open(self._shard(shard).id, inside)
        except UNREADABLE as error:
            raise FeatureError(
                f"{self.path}: the {group} of {video_id} lie in {shard}, which is missing or damaged. Keep it beside "
                f"the merged file when you move it. {REPAIR}"
            ) from error

    def _shard(self, path: Path) -> h5py.File:
        """The file of a link. Followed by HDF5, it would be opened for each dataset; some are held, for there may be
        more than a process may open.
        """
        if path not in self._shards:
            if len(self._shards) >= _SHARDS_HELD:
                self._shards.pop(next(iter(self._shards)))
            self._shards[path] = h5py.File(path, "r", locking=False)
        return self._shards[path]
