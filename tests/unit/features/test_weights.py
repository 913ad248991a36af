import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vmr.assets.torch_weights import c3d_key, plain_key
from vmr.errors import AssetError, FeatureError
from vmr.features.c3d import C3d
from vmr.features.i3d import InceptionI3d
from vmr.features.weights import load_into, read_weights


@pytest.fixture
def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4))


def test_safetensors_and_wrapped_checkpoints_load(small, tmp_path):
    state = small.state_dict()
    save_file(state, tmp_path / "a.safetensors", metadata={"source": "here"})
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, tmp_path / "b.pt")
    for name, metadata in (("a.safetensors", {"source": "here"}), ("b.pt", {})):
        other = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4))
        assert load_into(other, tmp_path / name, rename=plain_key) == metadata
        assert torch.equal(other[0].weight, small[0].weight)


def test_counters_of_batches_may_be_missing(small, tmp_path):
    state = {key: value for key, value in small.state_dict().items() if "num_batches" not in key}
    save_file(state, tmp_path / "a.safetensors")
    load_into(small, tmp_path / "a.safetensors")


def test_mmaction_names_fit_c3d():
    # Keys of mmaction2's checkpoint: groups a and b, each convolution wrapped, everything under a backbone.
    theirs = [
        f"backbone.{layer}.conv.{part}"
        for layer in ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
        for part in ("weight", "bias")
    ] + ["backbone.fc6.weight", "backbone.fc6.bias"]
    with torch.device("meta"):
        ours = set(C3d().state_dict())
    assert {c3d_key(key) for key in theirs} == ours
    assert {c3d_key(key) for key in ours} == ours


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(FeatureError, match=r"nowhere\.safetensors: the weights are not there.*config\.yaml"):
        read_weights(tmp_path / "nowhere.safetensors")


def test_damaged_files_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken")
    (tmp_path / "b.pt").write_bytes(b"not a checkpoint")
    (tmp_path / "c.pt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "d.pt")
    for name in ("a.safetensors", "b.pt", "c.pt", "d.pt"):
        with pytest.raises((FeatureError, AssetError), match=name):
            read_weights(tmp_path / name)


def test_weights_of_another_network_are_refused(small, tmp_path):
    save_file({"0.weight": torch.zeros(4, 3, 1, 1, 2), "head.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(FeatureError, match=r"5 missing.*1 of another shape \(first: 0\.weight\).*1 unknown.*of 6 keys"):
        load_into(small, tmp_path / "a.safetensors")
    with torch.device("meta"):
        model = InceptionI3d()
    with pytest.raises(FeatureError, match="not weights of InceptionI3d"):
        load_into(model, tmp_path / "a.safetensors")


def test_unused_layers_may_be_there(small, tmp_path):
    save_file({**small.state_dict(), "fc8.weight": torch.zeros(3)}, tmp_path / "a.safetensors")
    load_into(small, tmp_path / "a.safetensors", unused=("fc7.", "fc8."))
