import pickle

import numpy as np
import pytest

from vmr.assets.flax_i3d import i3d_state_dict_from_flax, load_flax_pickle
from vmr.errors import AssetError
from vmr.features.i3d import InceptionI3d

BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}


@pytest.fixture
def tree():
    """A flax tree of I3D with the shapes that flax gives and random values."""
    random = np.random.default_rng(0)
    params, stats = {}, {}
    for key, value in InceptionI3d(num_classes=3).state_dict().items():
        if not key.endswith("conv3d.weight"):
            continue
        parts = key.split(".")
        names = [parts[0], BRANCHES[parts[1]]] if parts[1] in BRANCHES else [parts[0]]
        if names == ["logits"]:
            names = ["Logits/Conv3d_0c_1x1"]
        out, inner, *kernel = value.shape
        unit, stat = params, stats
        for name in names:
            unit, stat = unit.setdefault(name, {}), stat.setdefault(name, {})
        unit["Conv_0"] = {"kernel": random.random((*kernel, inner, out), dtype=np.float32)}
        if parts[0] == "logits":
            unit["Conv_0"]["bias"] = random.random(out, dtype=np.float32)
            stats.pop(names[0])
            continue
        unit["BatchNorm_0"] = {"bias": random.random(out, dtype=np.float32)}
        stat["BatchNorm_0"] = {name: random.random(out, dtype=np.float32) for name in ("mean", "var")}
    return {"params": params, "batch_stats": stats}


def test_keys_and_axes_are_the_ports(tree):
    state = i3d_state_dict_from_flax(tree)
    expected = InceptionI3d(num_classes=3).state_dict()
    assert set(state) == {key for key in expected if not key.endswith("num_batches_tracked")}
    assert all(state[key].shape == expected[key].shape for key in state)
    kernel = tree["params"]["Mixed_4c"]["Branch_1/Conv3d_0b_3x3"]["Conv_0"]["kernel"]
    # flax: time, height, width, in, out
    assert state["Mixed_4c.b1b.conv3d.weight"][5, 7, 0, 1, 2] == kernel[0, 1, 2, 7, 5]
    assert (state["Mixed_4c.b1b.bn.weight"] == 1).all()
    var = tree["batch_stats"]["Mixed_4c"]["Branch_1/Conv3d_0b_3x3"]["BatchNorm_0"]["var"]
    np.testing.assert_array_equal(state["Mixed_4c.b1b.bn.running_var"], var)


def test_pickles_round_trip(tree, tmp_path):
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(tree, protocol=4))
    loaded = load_flax_pickle(tmp_path / "a.ckpt")
    np.testing.assert_array_equal(
        loaded["params"]["Conv3d_1a_7x7"]["Conv_0"]["kernel"], tree["params"]["Conv3d_1a_7x7"]["Conv_0"]["kernel"]
    )


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1]), pickle.dumps({"params": "text"})])
def test_other_content_is_refused(tmp_path, content):
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(AssetError, match=r"a\.ckpt"):
        load_flax_pickle(tmp_path / "a.ckpt")
    with pytest.raises(AssetError, match="no such file"):
        load_flax_pickle(tmp_path / "absent.ckpt")


def test_incomplete_and_foreign_trees_are_refused(tree):
    tree["params"]["Mixed_9z"] = {"kernel": np.zeros(3)}
    with pytest.raises(AssetError, match="1 arrays are not part of Inception-I3D, the first params/Mixed_9z/kernel"):
        i3d_state_dict_from_flax(tree)
    del tree["params"]["Mixed_9z"], tree["params"]["Mixed_4c"]
    with pytest.raises(AssetError, match="no array params/Mixed_4c"):
        i3d_state_dict_from_flax(tree)
