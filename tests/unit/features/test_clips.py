import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vmr.errors import FeatureError
from vmr.features.clips import (
    padded_sequence,
    plan_windows,
    resize_and_crop,
    slabs,
    step_seconds,
    windows_of,
    without_gaps,
)


def numbered(count, chunk=7):
    """Frames that carry their number, (n, 1, 1, 3)."""
    frames = np.repeat(np.arange(count, dtype=np.uint8)[:, None, None, None], 3, axis=3)
    return [frames[i : i + chunk] for i in range(0, count, chunk)]


def seen_by_each_step(count, *, window, stride, padding, batch=3, chunk=7):
    plan = plan_windows(count, window=window, stride=stride, padding=padding)
    sequence = without_gaps(padded_sequence(numbered(count, chunk), plan), window=window, stride=stride)
    apart = min(window, stride)
    pieces = list(slabs(sequence, length=(batch - 1) * apart + window, advance=batch * apart))
    assert max(len(piece) for piece in pieces) <= batch * window  # however far apart they lie in the video
    rows = [windows_of(torch.from_numpy(piece), window=window, stride=apart)[:, 0, :, 0, 0].numpy() for piece in pieces]
    return np.concatenate(rows)


def test_edge_windows_are_centred_on_what_a_step_owns():
    # 20 frames, window 8, stride 4: step 0 owns frames 0..3 and sees -2..5, step 4 owns 16..19 and sees 14..21.
    seen = seen_by_each_step(20, window=8, stride=4, padding="edge")
    assert seen.tolist() == [
        [0, 0, 0, 1, 2, 3, 4, 5],
        [2, 3, 4, 5, 6, 7, 8, 9],
        [6, 7, 8, 9, 10, 11, 12, 13],
        [10, 11, 12, 13, 14, 15, 16, 17],
        [14, 15, 16, 17, 18, 19, 19, 19],
    ]


@settings(deadline=None, max_examples=80)
@given(
    count=st.integers(1, 90),
    window=st.integers(1, 40),
    stride=st.integers(1, 40),
    batch=st.integers(1, 5),
    chunk=st.integers(1, 50),
)
def test_every_window_holds_the_frames_of_the_definition(count, window, stride, batch, chunk):
    seen = seen_by_each_step(count, window=window, stride=stride, padding="edge", batch=batch, chunk=chunk)
    steps = -(-count // stride)
    first = stride // 2 - window // 2
    expected = [[min(max(k * stride + first + i, 0), count - 1) for i in range(window)] for k in range(steps)]
    assert seen.tolist() == expected


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 90), window=st.integers(1, 40), stride=st.integers(1, 40))
def test_valid_windows_lie_inside(count, window, stride):
    seen = seen_by_each_step(count, window=window, stride=stride, padding="valid")
    starts = [start for start in range(0, count, stride) if start + window <= count] or [0]
    assert seen.tolist() == [[min(start + i, count - 1) for i in range(window)] for start in starts]


def test_steps_tile_the_video():
    plan = plan_windows(100, window=64, stride=8, padding="edge")
    start, end = step_seconds(plan, fps=24.0, duration_sec=100 / 24, padding="edge")
    assert len(start) == 13
    np.testing.assert_allclose(start, np.arange(13) * 8 / 24)
    np.testing.assert_array_equal(start[1:], end[:-1])
    assert end[-1] == pytest.approx(100 / 24)


def test_valid_steps_own_the_middle_of_their_windows_and_the_ends():
    plan = plan_windows(100, window=64, stride=8, padding="valid")
    start, end = step_seconds(plan, fps=24.0, duration_sec=100 / 24, padding="valid")
    # Windows at 0, 8, .. 32; the middle 8 frames of the second are 36 to 44.
    np.testing.assert_allclose(start, [0.0, 36 / 24, 44 / 24, 52 / 24, 60 / 24])
    np.testing.assert_array_equal(start[1:], end[:-1])
    assert end[-1] == pytest.approx(100 / 24)


def test_c3d_steps_are_m_over_16():
    # The paper: N = M / 16 segments of 16 frames.
    seen = seen_by_each_step(48, window=16, stride=16, padding="edge")
    assert seen.tolist() == np.arange(48).reshape(3, 16).tolist()


def test_a_video_without_frames_has_no_plan():
    with pytest.raises(FeatureError, match="at least one frame"):
        plan_windows(0, window=8, stride=8, padding="edge")


def test_missing_frames_are_noticed():
    plan = plan_windows(20, window=8, stride=8, padding="edge")
    with pytest.raises(FeatureError, match="gave 11 frames, its index says 20"):
        list(padded_sequence(numbered(11), plan))


def test_memory_is_one_piece_however_long_the_video():
    held = []

    def endless():
        for _ in range(1000):
            yield np.zeros((10, 1, 1, 3), np.uint8)

    for piece in slabs(endless(), length=24, advance=8):
        held.append(len(piece))
    assert max(held) == 24 and len(held) == (10_000 - 24) // 8 + 1


def bilinear(length, size):
    """Weights of an antialiased bilinear resize, (size, length): a triangle as wide as two pixels of the result."""
    scale = length / size
    distance = np.abs((np.arange(size)[:, None] + 0.5) * scale - (np.arange(length) + 0.5)) / max(scale, 1.0)
    weights = np.maximum(1 - distance, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(21, 30), (60, 100)])  # smaller and larger than 48 x 64
def test_resized_pixels_are_the_average_of_what_they_cover(video_frames, size):
    rows, columns = bilinear(48, size[0]), bilinear(64, size[1])
    expected = np.einsum("yh,xw,nhwc->nyxc", rows, columns, video_frames[:4].astype(float))
    top, left = (size[0] - 20) // 2, (size[1] - 20) // 2
    found = resize_and_crop(video_frames[:4], short_side=None, size=size, crop=20)
    # Bytes, rounded once for the height and once for the width.
    assert np.abs(found - expected[:, top : top + 20, left : left + 20]).max() < 1.1


def test_resize_and_crop(video_frames):
    cropped = resize_and_crop(video_frames, short_side=None, size=None, crop=32)
    np.testing.assert_array_equal(cropped, video_frames[:, 8:40, 16:48])
    assert cropped.flags["C_CONTIGUOUS"]
    assert resize_and_crop(video_frames, short_side=24, size=None, crop=24).shape == (40, 24, 24, 3)
    assert resize_and_crop(video_frames, short_side=None, size=(128, 171), crop=112).shape == (40, 112, 112, 3)
    # A picture of one colour keeps it, and one narrower than the crop is brought up to it.
    grey = np.full((2, 10, 500, 3), 77, np.uint8)
    assert (resize_and_crop(grey, short_side=20, size=None, crop=20) == 77).all()
    assert resize_and_crop(grey[:, :, :5], short_side=8, size=None, crop=20).shape == (2, 20, 20, 3)
