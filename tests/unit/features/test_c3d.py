import numpy as np
import pytest
import torch
from reference import c3d_reference

from vmr.errors import FeatureError
from vmr.features.c3d import C3d, C3dClips, load_crop_mean


@pytest.fixture
def c3d() -> C3d:
    torch.manual_seed(3)
    return C3d().double().eval()


def test_every_layer_agrees_with_the_reference(c3d):
    clip = torch.rand(1, 3, 16, 24, 20, dtype=torch.float64) * 200 - 100
    state = {key: value.numpy() for key, value in c3d.state_dict().items()}
    ours, seen = clip, 0
    with torch.inference_mode():
        for (name, expected), (our_name, stage) in zip(
            c3d_reference.layers(clip[0].numpy(), state), c3d.stages().items(), strict=True
        ):
            ours = stage(ours)
            ours = ours.relu() if name.startswith("conv") else ours
            assert our_name == name
            np.testing.assert_allclose(ours[0].numpy(), expected, rtol=1e-9, atol=1e-12, err_msg=name)
            seen += 1
    assert seen == 13


def test_fc6_reads_channels_first_in_any_memory_format(c3d):
    # The layers before fc6 are checked above.
    model = c3d.float()
    clip = torch.rand(1, 3, 16, 112, 112) * 200 - 100
    with torch.inference_mode():
        ours = model(clip.contiguous(memory_format=torch.channels_last_3d))[0].numpy()
        x = clip
        for name, stage in model.stages().items():
            x = stage(x).relu() if name.startswith("conv") else stage(x)
    flat = x[0].numpy().reshape(-1)  # channel, then time, height, width
    expected = np.maximum(model.fc6.weight.detach().numpy() @ flat + model.fc6.bias.detach().numpy(), 0)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)
    assert ours.shape == (4096,) and (ours > 0).any()


def test_clips_are_blue_green_red_minus_mean():
    clips = torch.zeros(1, 3, 16, 2, 2, dtype=torch.uint8)
    clips[:, 0], clips[:, 1], clips[:, 2] = 200, 150, 100  # red, green, blue
    ready = C3dClips()(clips)
    # mmaction2's configuration of C3D: mean 104, 117, 128 (here blue, green, red), deviation 1.
    assert ready[0, :, 0, 0, 0].tolist() == [100 - 104, 150 - 117, 200 - 128]


def test_crop_mean(tmp_path, shared_data):
    mean = load_crop_mean(shared_data / "weights" / "c3d_sports1m_crop_mean.npy")
    assert mean.shape == (16, 112, 112, 3)
    ready = C3dClips(crop_mean=mean)(torch.zeros(1, 3, 16, 112, 112, dtype=torch.uint8))
    assert ready[0, 2, 5, 7, 9] == -mean[5, 7, 9, 2]


def test_other_means_are_refused(tmp_path):
    np.save(tmp_path / "mean.npy", np.zeros((3, 112, 112)))
    with pytest.raises(FeatureError, match=r"mean\.npy.*\(16, 112, 112, 3\).*\(3, 112, 112\)"):
        load_crop_mean(tmp_path / "mean.npy")
    with pytest.raises(FeatureError, match="cannot be read"):
        load_crop_mean(tmp_path / "absent.npy")
