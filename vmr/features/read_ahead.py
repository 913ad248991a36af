"""Reading, resizing and uploading frames beside the network: a bounded number of pieces ahead of it."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from vmr.errors import DamageError, FeatureError, VmrError
from vmr.features.clips import Frames, WindowPlan
from vmr.features.extractors import Extractor
from vmr.video.frames import FrameInfo, FrameStore
from vmr.video.stream import GOP_FRAMES

# What a video raises that cannot be used; anything else is a fault of ours and stops the shard.
VIDEO_ERRORS = (VmrError, OSError, ValueError, KeyError)
_READ_CHUNK = 32
_QUEUED_PIECES = 2
# Frames that are decoded by one process where several decode at once: each takes a twentieth of a second to begin.
_STRETCH = 4 * GOP_FRAMES
# More of them hand over no more, and keep Python's lock from the thread that feeds the card (measured on 16 cores).
_MOST_READERS = 8


@dataclass(frozen=True)
class Piece:
    """A piece of a video's padded sequence, resized and cropped, on the device or on its way there."""

    video_id: str
    info: FrameInfo
    plan: WindowPlan
    slab: UInt8[Tensor, "T H W 3"]
    last: bool  # whether it is the video's last one
    copied: torch.cuda.Event | None  # passed when the slab has arrived on the card; None on the CPU

    def frames(self) -> UInt8[Tensor, "T H W 3"]:
        """The frames; work that is queued on the card from now on finds them there."""
        if self.copied is not None:
            network = torch.cuda.current_stream(self.slab.device)
            network.wait_event(self.copied)
            # Else their memory, which belongs to the copying stream, could be given away while they are in use.
            self.slab.record_stream(network)
        return self.slab


@dataclass(frozen=True)
class Failure:
    """A video that cannot be read any further, and why."""

    video_id: str
    reason: str


class End:
    """Nothing more to read; `error` is what stopped the reader, if anything."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def read_ahead(extractor: Extractor, frames: Path, todo: list[str]) -> Iterator["queue.Queue[Piece | Failure | End]"]:
    """Run the reading, resizing and cropping of the next pieces beside the network, a bounded number ahead."""
    pieces: queue.Queue[Piece | Failure | End] = queue.Queue(maxsize=_QUEUED_PIECES)
    stop = threading.Event()

    def hand_over(item: Piece | Failure | End) -> bool:
        while not stop.is_set():
            try:
                pieces.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def read_all() -> None:
        try:
            upload = _Upload(extractor.device)
            with FrameStore(frames) as store, _chunks_of(extractor, store, todo) as chunks:
                for video_id in todo:
                    try:
                        for piece in _pieces_of(extractor, store, video_id, chunks(video_id), upload):
                            if not hand_over(piece):
                                return
                    except DamageError:  # of the frame store: no fault of the video, which would be left out
                        raise
                    except VIDEO_ERRORS as error:
                        store.check(video_id)  # of facts that were altered, too, nobody may blame the video
                        if not hand_over(Failure(video_id, str(error) or type(error).__name__)):
                            return
            hand_over(End())
        except BaseException as error:  # handed to the main thread, which raises it
            hand_over(End(error))

    thread = threading.Thread(target=read_all, name="frame-reader", daemon=True)
    thread.start()
    try:
        yield pieces
    finally:
        stop.set()
        thread.join()


def _pieces_of(
    extractor: Extractor, store: FrameStore, video_id: str, chunks: Iterator[Frames], upload: "_Upload"
) -> Iterator[Piece]:
    info = store.info(video_id)
    plan = extractor.plan(info.num_frames)
    held: UInt8[np.ndarray, "T H W 3"] | None = None
    for slab in extractor.pieces(chunks, plan, cropped=True):
        if held is not None:
            yield Piece(video_id, info, plan, *upload(held, last=False))
        held = slab
    if held is None:
        raise FeatureError("the frame store has no frames for it: decode it again")
    yield Piece(video_id, info, plan, *upload(held, last=True))


@contextmanager
def _chunks_of(extractor: Extractor, store: FrameStore, todo: list[str]) -> Iterator[Callable[[str], Iterator[Frames]]]:
    """What gives the resized and cropped frames of a video, chunk by chunk; videos are asked for in their order."""
    if extractor.device.type == "cpu":
        # The network has the cores; one process that decodes keeps ahead of it.
        yield lambda video_id: map(extractor.cropped, store.read(video_id, chunk=_READ_CHUNK))
        return
    readers = min(len(os.sched_getaffinity(0)), _MOST_READERS)
    with ThreadPoolExecutor(readers, thread_name_prefix="frames") as pool:
        ahead = _Ahead(extractor, store, todo, pool, most=2 * readers)
        try:
            yield ahead.chunks
        finally:
            pool.shutdown(cancel_futures=True)


class _Ahead:
    """Stretches of the videos, decoded and cropped by all cores at once, a bounded number ahead.

    A card computes faster than one process decodes. Stretches begin where the frame store can begin to decode, so that
    long videos are shared among the cores as well as many short ones.
    """

    def __init__(
        self, extractor: Extractor, store: FrameStore, todo: list[str], pool: ThreadPoolExecutor, *, most: int
    ) -> None:
        self._extractor, self._store, self._pool, self._most = extractor, store, pool, most
        self._stretches = ((video_id, start) for video_id in todo for start in self._starts(video_id))
        self._running: deque[tuple[str, Future[list[Frames]]]] = deque()
        self._given_up: set[str] = set()

    def chunks(self, video_id: str) -> Iterator[Frames]:
        """The frames of a video; its error where it cannot be read."""
        try:
            self._fill()
            while self._running and self._running[0][0] == video_id:
                frames = self._running.popleft()[1]
                self._fill()
                yield from frames.result()
        finally:
            self._given_up.add(video_id)
            while self._running and self._running[0][0] == video_id:
                self._running.popleft()[1].cancel()

    def _fill(self) -> None:
        while len(self._running) < self._most:
            video_id, start = next(self._stretches, (None, 0))
            if video_id is None:
                return
            if video_id not in self._given_up:
                self._running.append((video_id, self._pool.submit(self._read, video_id, start)))

    def _starts(self, video_id: str) -> Iterable[int]:
        try:
            return range(0, self._store.info(video_id).num_frames, _STRETCH)
        except VIDEO_ERRORS:
            return (0,)  # reading it says what is wrong

    def _read(self, video_id: str, start: int) -> list[Frames]:
        if video_id in self._given_up:
            return []
        chunks = self._store.read(video_id, start=start, stop=start + _STRETCH, chunk=_READ_CHUNK)
        return [self._extractor.cropped(chunk) for chunk in chunks]


class _Upload:
    """Copies pieces to the device as bytes while the network works on earlier ones."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(
        self, slab: UInt8[np.ndarray, "T H W 3"], *, last: bool
    ) -> tuple[UInt8[Tensor, "T H W 3"], bool, torch.cuda.Event | None]:
        tensor = torch.from_numpy(slab)
        if self._stream is None:
            return tensor, last, None
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
            copied.record(self._stream)
        return tensor, last, copied
