import pytest
import torch

from vmr.features.i3d import pool_space, pool_time
from vmr.features.shared_windows import SharedWindows, can_share
from vmr.features.stage_stream import join_time, still_ends, temporal_reach
from vmr.features.streaming import StreamingFeatures


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    return 4 * torch.rand(1, 3, 120, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) - 2


def feed(stream, video, chunk):
    with torch.inference_mode():
        return torch.cat(
            [
                stream.push(video[:, :, i : i + chunk], last=i + chunk >= video.shape[2])
                for i in range(0, video.shape[2], chunk)
            ]
        )


def whole_pass(model, video, positions=8):
    """Features of every window of so many positions, from the network over the whole video."""
    with torch.inference_mode():
        return pool_time(pool_space(model.trunk(video)), window_positions=positions)[0]


@pytest.fixture(scope="module")
def one_pass(random_i3d, video) -> torch.Tensor:
    return whole_pass(random_i3d, video)


@pytest.mark.parametrize("chunk", [8, 24, 72, 120])
def test_cutting_the_video_changes_nothing(random_i3d, video, one_pass, chunk):
    features = feed(StreamingFeatures(random_i3d, window=64, stride=8), video, chunk)
    assert features.shape == (8, 1024)
    torch.testing.assert_close(features, one_pass, rtol=1e-6, atol=1e-7)


def test_cutting_changes_nothing_in_float32(fresh_i3d, video):
    features = feed(StreamingFeatures(fresh_i3d, window=64, stride=8), video.float(), 40)
    whole = feed(StreamingFeatures(fresh_i3d, window=64, stride=8), video.float(), 120)
    torch.testing.assert_close(features, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("chunk", [8, 40, 72, 136])
def test_repeated_frames_are_computed_once_and_change_nothing(random_i3d, video, chunk):
    # 28 frames before, 40 behind, as at the ends of a video; and 24 that stand still in between.
    ends = [video[:, :, :1].expand(-1, -1, 28, -1, -1), video[:, :, -1:].expand(-1, -1, 40, -1, -1)]
    middle = [video[:, :, :20], video[:, :, 20:21].expand(-1, -1, 24, -1, -1), video[:, :, 20:44]]
    whole = torch.cat([ends[0], *middle, ends[1]], dim=2)
    seen = []
    stream = StreamingFeatures(random_i3d, window=64, stride=8)
    first = stream._stages[0]
    stage = first.stage
    first.stage = lambda x, time: seen.append(x.shape[2]) or stage(x, time=time)
    features = feed(stream, whole, chunk)
    torch.testing.assert_close(features, whole_pass(random_i3d, whole), rtol=1e-6, atol=1e-7)
    if chunk == 136:
        # Of 29 equal frames the first convolution sees 7 (2 outputs, the second of which stands for 12), then the 5
        # of them that reach into the 67 that follow, and 7 of the 40 behind; last, the 6 up to the padded end.
        assert seen == [7, 5 + 67 + 7, 6]


def test_what_is_repeated_at_the_ends_of_a_piece():
    frames = torch.rand(1, 3, 12, 4, 4)
    moving = still_ends(frames)
    assert len(moving) == 1 and torch.equal(moving[0], frames)
    front, between, back = still_ends(
        torch.cat([frames[:, :, [0] * 9], frames[:, :, 1:4], frames[:, :, [5] * 6]], dim=2)
    )
    assert (front.count, between.shape[2], back.count) == (9, 3, 6)
    assert torch.equal(front.frame, frames[:, :, :1]) and torch.equal(back.all(2), frames[:, :, [5, 5]])
    (still,) = still_ends(frames[:, :, [3] * 20])
    assert still.count == 20


def test_a_wider_stride_picks_steps(random_i3d, video, one_pass):
    features = feed(StreamingFeatures(random_i3d, window=64, stride=24), video[:, :, :112], 16)
    torch.testing.assert_close(features, whole_pass(random_i3d, video[:, :, :112])[::3], rtol=1e-6, atol=1e-7)


def test_windows_far_apart(random_i3d, video):
    # Of 40 frames from one window of 16 to the next 24 lie in none: three positions, one more than a piece has.
    features = feed(StreamingFeatures(random_i3d, window=16, stride=40), video, 16)
    assert len(features) == 3
    torch.testing.assert_close(features, whole_pass(random_i3d, video, 2)[::5], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("stride", [64, 72, 128])
@pytest.mark.parametrize("chunk", [1, 5, 9, 40])
def test_positions_between_windows_are_skipped_in_any_pieces(stride, chunk):
    class NoStages:
        def stages(self):
            return {}

    # Without stages each frame is a position: eight of them are a window.
    positions = torch.rand(1, 1024, 50, 7, 7, generator=torch.Generator().manual_seed(3))
    features = feed(StreamingFeatures(NoStages(), window=64, stride=stride), positions, chunk)
    every = pool_time(pool_space(positions), window_positions=8)[0]
    torch.testing.assert_close(features, every[:: stride // 8])


def test_continuous_features_are_those_of_a_lone_window(random_i3d, video):
    # Where the video is one window long there is nothing beyond its ends: both ways are the same.
    features = feed(StreamingFeatures(random_i3d, window=64, stride=8), video[:, :, :64], 16)
    with torch.inference_mode():
        torch.testing.assert_close(features, random_i3d(video[:, :, :64]), rtol=1e-6, atol=1e-7)


def test_reach_of_the_stages(random_i3d):
    stages = random_i3d.stages()
    # The first convolution sees frames 2j - 2 to 2j + 4; the pool 4a inputs 2j to 2j + 2.
    assert temporal_reach(stages["Conv3d_1a_7x7"]) == (2, 2, 4)
    assert temporal_reach(stages["Conv3d_2b_1x1"]) == (1, 0, 0)
    assert temporal_reach(stages["MaxPool3d_4a_3x3"]) == (2, 0, 2)
    assert temporal_reach(stages["MaxPool3d_5a_2x2"]) == (2, 0, 1)
    assert temporal_reach(stages["Mixed_5c"]) == (1, 1, 1)


def test_windows_must_fit_the_grid(random_i3d):
    with pytest.raises(ValueError, match="multiples of 8"):
        StreamingFeatures(random_i3d, window=60, stride=8)


def test_join_time_is_concatenation():
    parts = [torch.rand(2, 3, t, 4, 5) for t in (1, 3)]
    joined = join_time(parts)
    assert torch.equal(joined, torch.cat(parts, dim=2))
    assert joined.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(
    ("window", "stride", "chunk"), [(64, 8, 16), (64, 8, 120), (32, 8, 40), (40, 20, 24), (64, 32, 8)]
)
def test_shared_windows_are_exact(random_i3d, video, window, stride, chunk):
    steps = (video.shape[2] - window) // stride + 1
    used = video[:, :, : (steps - 1) * stride + window]
    with torch.inference_mode():
        expected = torch.cat([random_i3d(used[:, :, k * stride :][:, :, :window]) for k in range(steps)])
    features = feed(SharedWindows(random_i3d, window=window, stride=stride), used, chunk)
    torch.testing.assert_close(features, expected, rtol=1e-6, atol=1e-7)


def test_sharing_is_refused_where_it_cannot_pay():
    assert can_share(window=64, stride=8)
    assert not can_share(window=64, stride=64)
    assert not can_share(window=64, stride=7)
    assert not can_share(window=16, stride=8)
