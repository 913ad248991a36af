"""The frame store: all frames of a shard at a fixed rate and size, in one HDF5 file."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import h5py
import numpy as np
import numpy.typing as npt

from vmr.errors import REPAIR, DamageError, ShardError
from vmr.storage.checksums import UNREADABLE, node_is_altered
from vmr.storage.hdf5 import HeldFile
from vmr.video.stream import GOP_FRAMES, StreamScan, decoded_frames

_GROUP = "videos"
_AT_THE_TOP = {_GROUP, "rows"}  # of a frame store; the rows are those of its shard
_WRITE_BYTES = 8 << 20


@dataclass(frozen=True)
class FrameInfo:
    """What is kept of a video."""

    num_frames: int  # frames kept
    width: int  # of a frame, in pixels
    height: int  # of a frame, in pixels
    fps: float  # frames a second: frame i stands for i / fps seconds after the beginning
    duration_sec: float  # seconds that the frames cover
    # where the beginning lies on the clock of the source file (0 for nearly all videos); for information only, since
    # annotations and frames both count from the beginning
    start_sec: float


class FrameStore(HeldFile):
    """A frame store, opened at once.

    Raises:
        ShardError: the file is missing or is no frame store.
        DamageError: it was altered so that this cannot be told.
    """

    _of_videos, _error, _unreadable = _GROUP, ShardError, "not a frame store"
    _absent = "no such frame store. Run decode_frames first."

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._checked: set[str] = set()  # videos whose checksums were right when they were first read
        self._checking = threading.Lock()
        _ = self._open

    def check(self, video_id: str) -> None:
        """Refuse a video whose frames or facts are others than were written. Its frames are read once for that.

        Raises:
            ShardError: it is not in the store.
            DamageError: they are.
        """
        video = self._video(video_id)
        with self._checking:
            if video_id not in self._checked and node_is_altered(video):
                raise DamageError(
                    f"{self.path}: the frames of {video_id} are not what was written there: their checksum differs. "
                    f"{REPAIR}"
                )
            self._checked.add(video_id)

    def info(self, video_id: str) -> FrameInfo:
        """Facts about the frames of a video.

        Raises:
            ShardError: it is not in the store.
            DamageError: they cannot be read any more. That they are others than were written, `check` tells.
        """
        video = self._video(video_id)
        with self._reading(f"what it says of {video_id}"):
            return FrameInfo(**{name: kind(video.attrs[name]) for name, kind in FrameInfo.__annotations__.items()})

    def read(
        self, video_id: str, *, start: int = 0, stop: int | None = None, chunk: int = 64
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Read frames in order, in bounded memory; an iterator that is dropped half-way leaves no process behind.

        Args:
            stop: the frame after the last one; None or beyond the end: all.
            chunk: frames in one array, except the last array.

        Yields:
            RGB frames, (n, H, W, 3) uint8, read-write.

        Raises:
            ShardError: the video is not in the store.
            DamageError: its frames are others than were written, or cannot be read any more.
            ValueError: a negative frame or an empty chunk.
        """
        video, info = self._video(video_id), self.info(video_id)
        stop = info.num_frames if stop is None else min(stop, info.num_frames)
        if start < 0 or stop < 0 or chunk < 1:
            raise ValueError(f"frames {start} to {stop} in chunks of {chunk} cannot be read")
        self.check(video_id)
        return self._read(video_id, video, info, start=start, stop=stop, chunk=chunk)

    def _read(
        self, video_id: str, video: h5py.Group, info: FrameInfo, *, start: int, stop: int, chunk: int
    ) -> Iterator[npt.NDArray[np.uint8]]:
        if start >= stop:
            return
        with self._reading(f"the frames of {video_id}"):
            groups = video["group_offsets"][:]
            group = min(start // GOP_FRAMES, len(groups) - 1)
            begin, skip = int(groups[group]), start - group * GOP_FRAMES
            stream = video["stream"]
            size = stream.shape[0] - begin
        unread: list[Exception] = []

        def encoded(first: int, last: int) -> bytes:
            try:
                return bytes(stream[begin + first : begin + last].tobytes())
            except UNREADABLE as error:
                unread.append(error)
                raise

        frames = decoded_frames(
            encoded,
            size=size,
            width=info.width,
            height=info.height,
            skip=skip,
            count=stop - start,
            chunk=chunk,
        )
        read = 0
        try:
            for array in frames:
                read += len(array)
                yield array
        except ShardError as error:
            if unread:  # a disk that fails, since the checksum was right before
                raise DamageError(
                    f"{self.path}: the frames of {video_id} cannot be read ({unread[0]}). {REPAIR}"
                ) from error
            raise
        if read != stop - start:
            raise ShardError(
                f"{self.path}: {video_id} gave {read} frames instead of {stop - start}. Run decode_frames again."
            )

    def _video(self, video_id: str) -> h5py.Group:
        if video_id not in self:
            raise ShardError(f"{self.path}: the video {video_id} is not in this frame store.")
        with self._reading(f"the frames of {video_id}"):
            return self._group(_GROUP)[video_id]

    def _refuse_another_kind(self, file: h5py.File) -> None:
        """Every file of ours has a provenance; that of features names an extractor."""
        found = set(file)
        if "provenance" not in file.attrs or found - _AT_THE_TOP or "extractor" in json.loads(file.attrs["provenance"]):
            raise ShardError(
                f"{self.path}: an HDF5 file, but not a frame store: expected {_GROUP} and a provenance of decoding, "
                f"found {', '.join(sorted(found)[:5]) or 'nothing'}. Name a file that decode_frames made, or run it "
                "again."
            )


def write_video(part: h5py.File, stream: IO[bytes], info: FrameInfo) -> None:
    """Put the encoded frames of a video into its part of a shard, in bounded memory.

    Raises:
        ShardError: the stream holds another number of frames.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    group = part.create_group(_GROUP)
    kept = group.create_dataset("stream", shape=(size,), dtype=np.uint8)
    scan = StreamScan()
    while data := stream.read(_WRITE_BYTES):
        kept[scan.size : scan.size + len(data)] = np.frombuffer(data, np.uint8)
        scan.feed(data)
    if scan.num_frames != info.num_frames:
        raise ShardError(f"the encoder kept {scan.num_frames} frames of {info.num_frames}; decode them again.")
    group.create_dataset("group_offsets", data=scan.group_offsets())
    for name, value in vars(info).items():
        group.attrs[name] = value
