"""Features as people have them: names, containers, crops, joined sources, exchanged axes; all made here."""

import h5py
import numpy as np
import pytest
import torch
import written
from safetensors.torch import save_file

from vmr.config.feature_sections import ImportSettings
from vmr.errors import ConfigError, FeatureError
from vmr.settings.checks import validated

DURATIONS = {"3MSZA": 30.0, "AO8RW": 33.0, "B1B2C": 12.0}
STEPS = {video_id: round(3 * seconds) for video_id, seconds in DURATIONS.items()}  # 24 frames a second, stride 8
NUMBERS = 16
ARRAYS = {
    video_id: np.random.default_rng(steps).standard_normal((steps, NUMBERS)).astype(np.float32)
    for video_id, steps in STEPS.items()
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    written.write_first_seconds(tmp_path / "moments.csv", t=DURATIONS)
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def imported(folder, source="in", layout="npy_folder", **changed):
    """Arrays by video, and the coverage."""
    store, coverage = written.imported(folder, source, layout, **changed)
    with store:
        return {video_id: store.get(video_id).features for video_id in store.video_ids}, coverage


def same(arrays, expected=ARRAYS):
    assert sorted(arrays) == sorted(expected)
    for video_id, array in expected.items():
        np.testing.assert_allclose(arrays[video_id], array, rtol=1e-6, atol=1e-6)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix
    if suffix in (".pt", ".pth"):
        torch.save(array, path)
    elif suffix == ".npz":
        np.savez(path, **array)
    else:
        with path.open("wb") as file:  # np.save would add an extension of its own
            np.save(file, array)


def tensor(array):
    return torch.from_numpy(array)


SHAPES = {
    "extension of the video": ("in/{}.mp4.npy", lambda x: x, {}),
    "capital extension": ("in/{}.NPY", lambda x: x, {}),
    "pth": ("in/{}.pth", tensor, {}),
    "bfloat16": ("in/{}.pt", lambda x: tensor(np.round(x)).bfloat16(), {}),
    "dictionary with one tensor": ("in/{}.pt", lambda x: {"clip": tensor(x), "fps": 24.0}, {}),
    "dictionary with two": ("in/{}.pth", lambda x: {"features": tensor(x), "stamps": tensor(x[:, 0])}, {}),
    "npz with time stamps": ("in/{}.npz", lambda x: {"rgb": x, "timestamps": np.arange(len(x))}, {}),
    "npz by name": ("in/{}.npz", lambda x: {"features": x, "flow": 2 * x}, {}),
    "array that is named": ("in/{}.npz", lambda x: {"rgb": x, "flow": 2 * x}, {"pattern": "{id}.npz/rgb"}),
    "folder of a kind": ("in/i3d/{}_i3d.npy", lambda x: x, {"pattern": "i3d/{id}_i3d.npy"}),
    "folder of a video": ("in/{}/rgb.npy", lambda x: x, {"pattern": "{id}/rgb.npy"}),
    "big-endian, by columns": ("in/{}.npy", lambda x: np.asfortranarray(x.astype(">f4")), {}),
    "ten crops": ("in/{}.npy", lambda x: np.stack([x + n - 4.5 for n in range(10)], axis=1), {}),
    "ten crops first": ("in/{}.npy", lambda x: np.stack([x + n - 4.5 for n in range(10)]), {}),
    "batch of crops": ("in/{}.npy", lambda x: np.stack([x] * 10, axis=1)[None], {}),
    "transposed": ("in/{}.npy", lambda x: x.T, {"transposed": True}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_files(folder, shape):
    name, change, changed = SHAPES[shape]
    for video_id, array in ARRAYS.items():
        save(folder / name.format(video_id), change(array))
    arrays, coverage = imported(folder, **changed)
    same(arrays, {key: np.round(x) for key, x in ARRAYS.items()} if shape == "bfloat16" else ARRAYS)
    told = "the mean of 10 crops was taken" if "crops" in shape else ""
    assert set(coverage["reason"]) == {told}


@pytest.mark.parametrize(
    ("name", "inside", "changed"),
    [
        ("{}.mp4", {}, {}),
        ("{}", {"c3d_features": 1, "stamps": 2}, {}),
        ("{}", {"features": 1, "flow": 2}, {}),
        ("{}", {"rgb": 1, "flow": 2}, {"pattern": "{id}/rgb"}),
        ("features/{}", {}, {}),
        ("features/v_{}", {}, {}),
        ("a/b/{}_x", {}, {"pattern": "a/b/{id}_x"}),
    ],
)
def test_keys_of_hdf5(folder, name, inside, changed):
    with h5py.File(folder / "in.h5", "w") as file:
        for video_id, array in ARRAYS.items():
            key = name.format(video_id)
            for within, factor in (inside or {"": 1}).items():
                file[f"{key}/{within}".rstrip("/")] = array * factor
    same(imported(folder, "in.h5", "hdf5", **changed)[0])


def test_files_of_video_features_are_told_with_the_pattern_to_write(folder):
    for video_id, array in ARRAYS.items():
        for end, value in (("rgb", array), ("flow", 2 * array), ("fps", 24.0), ("timestamps_ms", array[:, 0])):
            save(folder / "in" / f"{video_id}_{end}.npy", value)
    with pytest.raises(
        FeatureError, match=r"none of the 3 videos.*such as 3MSZA.*\{id\}_rgb\.npy \(3\).*`pattern: \"\{id\}_rgb"
    ):
        imported(folder)
    same(imported(folder, pattern="{id}_rgb.npy")[0])
    arrays, _ = imported(folder, pattern="{id}_rgb.npy", join=["in/{id}_flow.npy"])
    same(arrays, {video_id: np.concatenate([array, 2 * array], axis=1) for video_id, array in ARRAYS.items()})
    with pytest.raises(FeatureError, match=r"3MSZA_fps\.npy: expected features of shape"):
        imported(folder, pattern="{id}_fps.npy")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], r"none of the 3 videos of the annotations is in it.* It is empty\."),
        (["3MSZA.pkl", "AO8RW.pkl"], r"\{id\}\.pkl \(2\), which are not read"),
        (["i3d/3MSZA_i3d.npy"], r"`pattern: \"i3d/\{id\}_i3d\.npy\"`"),
        ([f"3MSZA.avi_{n}_{n + 60}.npy" for n in (1, 61, 121)], r"several files a video: \{id\}\.avi_\*.*one array"),
        (["3MSAZ.npy", "x.npy"], r"2 names \(2 npy\); the nearest to 3MSZA is 3MSAZ\.npy"),
    ],
)
def test_a_folder_without_the_videos_is_told_by_what_it_holds(folder, files, said):
    for name in files:
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "in" / name).write_bytes(b"x")
    with pytest.raises(FeatureError, match=said):
        imported(folder)


def test_files_in_folders_of_splits_are_found(folder):
    for video_id, array in ARRAYS.items():
        save(folder / "in" / ("train" if video_id < "B" else "test") / f"{video_id}.npy", array)
    same(imported(folder)[0])
    save(folder / "in/test/3MSZA.npy", ARRAYS["3MSZA"])
    _, coverage = imported(folder)
    told = 'several files hold it (test/3MSZA.npy, train/3MSZA.npy); name one, such as `pattern: "test/{id}.npy"`'
    assert told in coverage.loc["3MSZA", "reason"]
    save(folder / "in/3MSZA.npy", 2 * ARRAYS["3MSZA"])  # what lies at the top counts
    same(imported(folder)[0], ARRAYS | {"3MSZA": 2 * ARRAYS["3MSZA"]})


@pytest.mark.parametrize("other", ["3MSZA.mp4.npy", "3MSZA.npz"])
def test_two_files_of_a_video_are_none_until_one_is_named(folder, other):
    for video_id, array in ARRAYS.items():
        save(folder / "in" / f"{video_id}.npy", array)
    save(folder / "in" / other, {"rgb": ARRAYS["AO8RW"]} if other.endswith("z") else ARRAYS["AO8RW"])
    arrays, coverage = imported(folder)
    assert sorted(arrays) == ["AO8RW", "B1B2C"]
    held = ", ".join(sorted(["3MSZA.npy", other]))
    told = f'several files hold it ({held}); name one, such as `pattern: "{{id}}.npy"`'
    assert coverage.loc["3MSZA", "reason"] == told
    same(imported(folder, pattern="{id}.npy")[0])


@pytest.mark.parametrize("layout", ["h5", "pt"])
def test_two_arrays_of_a_video_in_one_file_are_none_until_one_is_named(folder, layout):
    arrays = ARRAYS | {"3MSZA.mp4": ARRAYS["AO8RW"], "B1B2C.mp4": ARRAYS["B1B2C"], "B1B2C.mkv": ARRAYS["B1B2C"]}
    if layout == "pt":
        torch.save({name: tensor(array) for name, array in arrays.items()}, folder / "in.pt")
    else:
        with h5py.File(folder / "in.h5", "w") as file:
            for name, array in arrays.items():
                file[name] = array
    with pytest.raises(FeatureError, match=r"2 of 3 videos found are unusable.*hold it \(3MSZA, 3MSZA.mp4\); name one"):
        imported(folder, f"in.{layout}", "hdf5")
    same(imported(folder, f"in.{layout}", "hdf5", pattern="{id}")[0])


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors"])
def test_one_file_of_numpy_torch_or_safetensors_has_an_array_a_video(folder, suffix):
    tensors = {f"v_{video_id}": torch.from_numpy(array) for video_id, array in ARRAYS.items()}
    path = folder / f"all{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        (torch.save if suffix == ".pt" else save_file)(tensors, path)
    same(imported(folder, path.name, "hdf5")[0])
    if suffix == ".pt":
        torch.save({name: {"rgb": tensor} for name, tensor in tensors.items()}, path)
        with pytest.raises(FeatureError, match=r"no arrays in it.*Dictionaries in those are not read"):
            imported(folder, path.name, "hdf5")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FeatureError, match=rf"all\{suffix}: cannot be read"):
        imported(folder, path.name, "hdf5")


def test_a_file_without_the_videos_is_told_by_what_it_holds(folder):
    with h5py.File(folder / "in.h5", "w") as file:
        file["vid"], file["feat"] = [b"3MSZA"], np.ones((3, 100, 8))
    with pytest.raises(FeatureError, match=r"It holds feat, vid; expected an array for each video, by id"):
        imported(folder, "in.h5", "hdf5")
    with h5py.File(folder / "in.h5", "w") as file:
        for kind in ("rgb", "flow"):
            file[f"{kind}/3MSZA"] = ARRAYS["3MSZA"]
    with pytest.raises(FeatureError, match=r"several datasets hold it \(flow/3MSZA, rgb/3MSZA\); name one"):
        imported(folder, "in.h5", "hdf5")
    with pytest.raises(FeatureError, match=r"no group i3d in it; it holds flow, rgb"):
        imported(folder, "in.h5", "hdf5", pattern="i3d/{id}")


def test_several_arrays_without_a_name_are_refused_with_what_to_write(folder):
    save(folder / "in" / "3MSZA.npz", {"rgb": ARRAYS["3MSZA"], "flow": ARRAYS["3MSZA"]})
    with pytest.raises(FeatureError, match=r"found rgb \(90, 16\), flow \(90, 16\).*`pattern: \"\{id\}\.npz/rgb\"`"):
        imported(folder)
    with pytest.raises(FeatureError, match=r"no array pose in it, found rgb"):
        imported(folder, pattern="{id}.npz/pose")


def test_two_sources_are_joined_along_their_numbers(folder):
    for video_id, array in ARRAYS.items():
        save(folder / "in" / f"{video_id}.npz", {"features": array.astype(np.float16)})
        save(folder / "slowfast" / f"{video_id}.npz", {"features": array[:-1, :4]})  # a step less
    arrays, coverage = imported(folder, join=["slowfast"])
    same(arrays, {k: np.concatenate([x.astype(np.float16)[:-1], x[:-1, :4]], axis=1) for k, x in ARRAYS.items()})
    assert set(coverage["reason"]) == {"the joined sources differ by a few steps, the shorter one counts"}
    with h5py.File(folder / "slowfast.h5", "w") as file:
        for video_id, array in list(ARRAYS.items())[:2]:
            file[f"{video_id}/rgb"] = array[::2] if video_id == "AO8RW" else array
    arrays, coverage = imported(folder, join=["slowfast.h5/{id}/rgb"], max_failed_share=0.9)
    assert list(arrays) == ["3MSZA"]
    assert "other numbers of steps (in: 99, slowfast.h5: 50)" in coverage.loc["AO8RW", "reason"]
    assert coverage.loc["B1B2C", "reason"].startswith("not in slowfast.h5")


@pytest.mark.parametrize("known", [{}, {"fps": None, "stride": None}])
def test_transposed_arrays_are_told(folder, known):
    wide = {video_id: np.ones((1024, steps), np.float32) for video_id, steps in STEPS.items()}
    for video_id, array in wide.items():
        save(folder / "in" / f"{video_id}.npy", array)
    with pytest.raises(
        FeatureError,
        match=r"1,024 steps of 90 numbers for a video of 30.00 s: the arrays are trans|in: the arrays are transposed",
    ):
        imported(folder, **known)
    same(imported(folder, **known, transposed=True)[0], {video_id: array.T for video_id, array in wide.items()})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda x: x, "more than tensors, such as arrays of NumPy.* save tensors alone"),
        (lambda x: {"data": {"features": torch.from_numpy(x)}}, "found none; dictionaries in dictionaries"),
        (lambda x: torch.from_numpy(x > 0), "an array of numbers, found bool"),
        (lambda x: [torch.from_numpy(row) for row in x], "an array of numbers, found list"),
        (lambda x: torch.from_numpy(np.full_like(x, np.nan)), "hold NaN or infinity"),
    ],
    ids=["NumPy", "nested", "yes and no", "list", "NaN"],
)
def test_what_files_of_torch_hold_is_told_once_for_all_videos(folder, content, said):
    for video_id, array in ARRAYS.items():
        save(folder / f"in/{video_id}.pt", content(array))
    with pytest.raises(FeatureError, match=said) as caught:
        imported(folder)
    assert str(caught.value).count(".pt: ") <= 1 and "\x1b" not in str(caught.value)
    assert "stride" not in str(caught.value)  # it is not that


def test_a_file_for_a_folder_and_a_folder_for_a_file(folder):
    (folder / "all.npz").write_bytes(b"")
    with pytest.raises(FeatureError, match="in: is a folder, for which `layout: npy_folder` stands"):
        imported(folder, layout="hdf5")
    with pytest.raises(FeatureError, match=r"all\.npz: is a file, for which `layout: hdf5` stands"):
        imported(folder, "all.npz")


def test_transposed_arrays_of_one_length_are_told(folder, caplog):
    for video_id in ARRAYS:
        save(folder / f"in/{video_id}.npy", np.random.default_rng(0).random((512, 75)))
    imported(folder, fps=None, stride=None)
    assert "all have 512 rows: as it seems, the arrays are transposed" in caplog.text


def test_arrays_of_python_objects_are_refused(folder):
    np.save(folder / "in" / "3MSZA.npy", {"feature": ARRAYS["3MSZA"]}, allow_pickle=True)
    with pytest.raises(FeatureError, match=r"3MSZA\.npy: .*holds Python objects.*save the array alone"):
        imported(folder)


def test_names_that_differ_in_case_are_offered(folder, caplog):
    for video_id in ("3msza", "AO8RW", "B1B2C"):
        save(folder / "in" / f"{video_id}.npy", ARRAYS[video_id.upper()])
    _, coverage = imported(folder)
    assert coverage.loc["3MSZA", "reason"] == "not in in (is it 3msza?)"
    assert "1 of 3 videos are not in it, such as 3MSZA: not in in (is it 3msza?)" in caplog.text


def test_a_pattern_without_the_id_is_refused():
    with pytest.raises(ConfigError, match=r"pattern.*expected \{id\} once"):
        validated(ImportSettings, {"source": "x", "layout": "hdf5", "pattern": "rgb.npy"}, "import")


def test_equally_many_rows_in_all_videos_are_no_steps(folder):
    # Of ten minutes and more 1,024 steps could be meant, one video by itself.
    written.write_first_seconds(
        folder / "moments.csv", t={name: 10 * seconds + 600 for name, seconds in DURATIONS.items()}
    )
    for video_id, steps in STEPS.items():
        save(folder / "in" / f"{video_id}.npy", np.ones((1024, steps), np.float32))
    with pytest.raises(FeatureError, match=r"in: the arrays are transposed.*`transposed: true`"):
        imported(folder, fps=None, stride=None)
