"""Frames handed from one process to another in shared memory: a ring of slots, and two pipes that say whose turn it is.

A pipe would copy every frame twice. Imports nothing heavy: decord's server uses it too.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

_SLOTS = 4
_SLOT_FRAMES = 16  # at most; large frames get fewer, so that the ring stays small
_RING_BYTES = 1 << 26


def ring_shape(width: int, height: int) -> tuple[int, int, int, int, int]:
    """Slots, frames in a slot, height, width and colours of a ring for frames of a size.

    >>> ring_shape(480, 270), ring_shape(3840, 2160)
    ((4, 16, 270, 480, 3), (4, 1, 2160, 3840, 3))
    """
    frames = _RING_BYTES // (_SLOTS * width * height * 3)
    return _SLOTS, min(max(frames, 1), _SLOT_FRAMES), height, width, 3


class FrameRing:
    """The reader's end.

    Args:
        width: of the frames.
        height: of the frames.
    """

    def __init__(self, *, width: int, height: int) -> None:
        shape = ring_shape(width, height)
        size = int(np.prod(shape))
        if hasattr(os, "memfd_create"):
            self.memory = os.memfd_create("frames")
        else:
            with tempfile.TemporaryFile() as file:
                self.memory = os.dup(file.fileno())
        os.ftruncate(self.memory, size)
        self._slots = np.frombuffer(mmap.mmap(self.memory, size), np.uint8).reshape(shape)
        self.free, self._freed = os.pipe()
        os.write(self._freed, b"f" * _SLOTS)
        self._next = 0

    def __enter__(self) -> FrameRing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for descriptor in (self.memory, self.free, self._freed):
            os.close(descriptor)

    def take(self, count: int) -> npt.NDArray[np.uint8]:
        """View of the frames in the next slot, (count, H, W, 3); valid until `release`."""
        return self._slots[self._next % _SLOTS, :count]

    def release(self) -> None:
        """Give the slot that was taken back to the writer."""
        self._next += 1
        os.write(self._freed, b"f")


def ring_writer(
    ready: int, memory: int, free: int, *, width: int, height: int
) -> tuple[Callable[[npt.NDArray[Any]], None], Callable[[], None]]:
    """The writer's end.

    Args:
        ready: descriptor that takes the number of frames of every slot that is filled, a byte each.
        memory: descriptor of the ring's memory.
        free: descriptor that gives a byte for every slot that may be filled.
        width: of the frames.
        height: of the frames.

    Returns:
        Functions that put a frame, (H, W, 3), into the ring and that hand over the last slot. Both raise
        BrokenPipeError when the reader has gone.
    """
    shape = ring_shape(width, height)
    slot_frames = shape[1]
    slots = np.frombuffer(mmap.mmap(memory, int(np.prod(shape))), np.uint8).reshape(shape)
    put_frames = 0

    def put(frame: npt.NDArray[Any]) -> None:
        nonlocal put_frames
        slot, place = divmod(put_frames, slot_frames)
        if place == 0 and not os.read(free, 1):
            raise BrokenPipeError
        slots[slot % _SLOTS, place] = frame
        put_frames += 1
        if place == slot_frames - 1:
            os.write(ready, bytes([slot_frames]))

    def close() -> None:
        if left := put_frames % slot_frames:
            os.write(ready, bytes([left]))

    return put, close
