import gc
import os
from pathlib import Path

import numpy as np
import pytest
from clips import decode

from vmr.errors import VideoError
from vmr.video.arrays import rgb_frames
from vmr.video.probe import probe_video
from vmr.video.reader import Picture
from vmr.video.ring import FrameRing, ring_shape, ring_writer


def picture_of(helpers, path):
    row = probe_video(helpers.prober, path, timeout_sec=20)
    return Picture(path, row["width"], row["height"], row["rotation"], row["duration_sec"])


def frames_of(helpers, path, **options):
    fixed = {"fps": 24, "short_side": 64, "timeout_sec": 20}
    return list(rgb_frames(helpers, picture_of(helpers, path), **(fixed | options)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("short_side", [64, 128, 32])  # as it is, resized here, resized by decord
def test_the_frames_of_the_frame_store_come_as_arrays(helpers, render_clip, read_numbers, short_side, threads):
    path = render_clip("clip.mp4", fps="30000/1001")
    chunks = frames_of(helpers, path, short_side=short_side, threads=threads)
    assert {chunk.shape[1:] for chunk in chunks} == {(short_side, 2 * short_side, 3)}
    frames = np.concatenate(chunks)
    decoded, kept = decode(helpers, path, short_side=short_side)
    assert decoded.decoder == "decord"
    # The store is lossy, and resizes elsewhere: invisible differences.
    assert np.abs(frames.astype(np.int16) - kept).mean() < 4
    if short_side == 64:
        assert read_numbers(frames) == read_numbers(kept)


def test_pixels_that_are_not_square_come_as_in_the_frame_store(helpers, render_clip):
    path = render_clip("wide.mp4", "-c:v", "libx264", "-vf", "setsar=4/3", frames=12)
    frames = np.concatenate(frames_of(helpers, path))
    _, kept = decode(helpers, path)
    assert frames.shape == kept.shape == (12, 64, 170, 3)
    assert np.abs(frames.astype(np.int16) - kept).mean() < 4


def test_frames_that_were_yielded_stay_as_they_are(helpers, render_clip, read_numbers):
    path = render_clip("clip.mp4", frames=200)  # more than the ring holds
    chunks = frames_of(helpers, path)
    assert read_numbers(np.concatenate(chunks)) == list(range(200))
    assert all(chunk.flags.owndata or chunk.base is not None for chunk in chunks)


def test_an_iterator_dropped_half_way_leaves_nothing_open(helpers, render_clip, read_numbers):
    path = render_clip("clip.mp4", frames=200)
    frames_of(helpers, path)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    frames = rgb_frames(helpers, picture_of(helpers, path), fps=24, short_side=64, timeout_sec=20)
    next(frames)
    frames.close()
    gc.collect()
    assert read_numbers(np.concatenate(frames_of(helpers, path))) == list(range(200))
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_decord_gets_wrong_is_refused(helpers, render_clip):
    with pytest.raises(VideoError, match="no index"):
        frames_of(helpers, render_clip("clip.ts"))
    damaged = render_clip("clip.mp4", "-c:v", "libx264", "-movflags", "+faststart")
    picture = picture_of(helpers, damaged)
    damaged.write_bytes(damaged.read_bytes()[:-500])
    with pytest.raises(VideoError, match="decord"):
        list(rgb_frames(helpers, picture, fps=24, short_side=64, timeout_sec=20))


def test_a_ring_hands_over_every_frame_in_order_and_holds_back_a_writer_that_is_ahead():
    ready, target = os.pipe()
    slots, slot_frames = ring_shape(4, 2)[:2]
    with FrameRing(width=4, height=2) as ring:
        put, close = ring_writer(target, ring.memory, ring.free, width=4, height=2)
        for number in range(slots * slot_frames):
            put(np.full((2, 4, 3), number, np.uint8))
        os.set_blocking(ring.free, False)
        with pytest.raises(BlockingIOError):
            put(np.zeros((2, 4, 3), np.uint8))
        assert os.read(ready, 100) == bytes([slot_frames] * slots)
        for slot in range(slots):
            first = slot * slot_frames
            assert ring.take(slot_frames)[:, 0, 0, 0].tolist() == list(range(first, first + slot_frames))
            ring.release()
        put(np.full((2, 4, 3), 99, np.uint8))
        close()
        assert os.read(ready, 100) == bytes([1])
        np.testing.assert_array_equal(ring.take(1), np.full((1, 2, 4, 3), 99))
    os.close(target)
    os.close(ready)
