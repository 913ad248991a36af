import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from sectioned import sectioned
from typer.testing import CliRunner
from written import write_features, write_first_seconds

from vmr.cli import app
from vmr.config.feature_sections import ReductionSettings
from vmr.errors import DamageError, FeatureError
from vmr.features.merge import merge_features
from vmr.features.store import FeatureStore
from vmr.pipeline.stages import STAGES
from vmr.storage.checksums import seal_file

PROVENANCE = {"dim": 5, "extractor": "i3d", "stride": 8, "device": "cpu", "versions": {"torch": "1"}}


@pytest.fixture
def dataset(tmp_path):
    """Two shards in folders of their own, videos a to e of which e is missing and f in no shard."""
    random = np.random.default_rng(0)
    for shard, videos in enumerate((("a", "b"), ("c", "d"))):
        folder = tmp_path / "shards" / str(shard)
        folder.mkdir(parents=True)
        arrays = {name: random.normal(size=(6 + n, 5)).astype(np.float32) for n, name in enumerate(videos)}
        write_features(folder / "i3d.h5", arrays, **PROVENANCE | {"device": ("cpu", "cuda")[shard]})
        rows = [(video_id, "ok", "") for video_id in videos] + ([("e", "missing", "no file")] if shard else [])
        pd.DataFrame(rows, columns=["video_id", "status", "reason"]).to_csv(folder / "status.csv", index=False)
    write_first_seconds(tmp_path / "moments.csv", train=dict.fromkeys("abce", 9.0), test=dict.fromkeys("df", 9.0))
    return tmp_path


def merge(folder, **changed):
    arguments = {
        "shards": [folder / "shards" / k / "i3d.h5" for k in "01"],
        "statuses": [folder / "shards" / k / "status.csv" for k in "01"],
        "output": folder / "merged" / "i3d.h5",
        "coverage": folder / "merged" / "coverage.csv",
        "moments": folder / "moments.csv",
        "train_split": "train",
        "code_digest": "of merging",
    } | changed
    merge_features(**sectioned(ReductionSettings, arguments, name="reduction"))
    return arguments["output"]


def shard_features(folder, shard, video_id):
    with FeatureStore(folder / "shards" / shard / "i3d.h5") as store:
        return store.get(video_id).features


def test_links_copy_nothing_and_read_the_same(dataset, monkeypatch, tmp_path_factory):
    # Relative arguments, another working directory later on: links are relative to the merged file.
    monkeypatch.chdir(dataset)
    relative = type(dataset)()
    path = merge(relative)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    with FeatureStore(dataset / path) as store:
        assert store.video_ids == ["a", "b", "c", "d"] and "c" in store and "e" not in store
        np.testing.assert_array_equal(store.get("c").features, shard_features(dataset, "1", "c"))
        assert store.dim == 5 and store.provenance["extractor"] == "i3d"
    with h5py.File(dataset / path) as file:
        link = file["features"].get("a", getlink=True)
        assert isinstance(link, h5py.ExternalLink) and link.filename == "../shards/0/i3d.h5"


def test_the_command_takes_the_shards_by_their_numbers(dataset):
    shards = dataset / "shards" / "{0..1}"
    merge_command = ["merge-features", "--shards", shards / "i3d.h5", "--statuses", shards / "status.csv"]
    merge_command += ["--moments", dataset / "moments.csv"]
    outputs = ["--output", dataset / "i3d.h5", "--coverage", dataset / "coverage.csv"]
    result = CliRunner().invoke(app, [*map(str, merge_command), *map(str, outputs)])
    assert result.exit_code == 0, result.output
    with FeatureStore(dataset / "i3d.h5") as store:
        assert store.video_ids == ["a", "b", "c", "d"]
        assert store.provenance["merged"]["code_digest"] == STAGES["merge_features"].digest()
    wrong = [part.replace("{0..1}", "{1..0}") for part in map(str, merge_command)]
    result = CliRunner().invoke(app, [*wrong, *map(str, outputs)])
    assert result.exit_code == 2 and "ends before it begins" in result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this is not a status file"),
        (b"\x89PNG\xff\xfe\n", "this is not a status file"),
        (
            b"query,score\n1,2\n",
            "expected a status file with the columns video_id, status, reason; .* not found among query, score",
        ),
        (b'video_id,status,reason\na,ok,""\n"b', "this is not a status file"),
    ],
)
def test_files_that_are_no_status_files_are_named(dataset, content, said):
    (dataset / "shards" / "1" / "status.csv").write_bytes(content)
    with pytest.raises(FeatureError, match=rf"shards/1/status\.csv: {said}"):
        merge(dataset)


def test_names_of_any_alphabet_are_linked(dataset):
    with h5py.File(dataset / "shards" / "1" / "i3d.h5", "r+") as file:
        for group in ("features", "start_sec", "end_sec"):
            file.move(f"{group}/c", f"{group}/видео é")
    frame = pd.read_csv(dataset / "shards" / "1" / "status.csv").replace("c", "видео é")
    frame.to_csv(dataset / "shards" / "1" / "status.csv", index=False)
    with FeatureStore(merge(dataset)) as store:
        assert store.video_ids == ["a", "b", "d", "видео é"]
        assert store.get("видео é").features.shape == (6, 5)


def test_the_whole_tree_can_move(dataset, tmp_path_factory):
    merge(dataset)
    moved = tmp_path_factory.mktemp("moved") / "all"
    shutil.move(dataset, moved)
    with FeatureStore(moved / "merged" / "i3d.h5") as store:
        assert store.get("d").features.shape == (7, 5)
    dataset.mkdir()


def test_coverage_has_a_row_for_every_video(dataset):
    merge(dataset)
    rows = pd.read_csv(dataset / "merged" / "coverage.csv", keep_default_na=False)
    assert rows.to_numpy().tolist() == [
        ["a", "ok", "", 6],
        ["b", "ok", "", 7],
        ["c", "ok", "", 6],
        ["d", "ok", "", 7],
        ["e", "missing", "no file", 0],
        ["f", "missing", "in none of the shards", 0],
    ]


def test_a_lost_shard_is_named(dataset):
    path = merge(dataset)
    (dataset / "shards" / "1" / "i3d.h5").unlink()
    with FeatureStore(path) as store:
        assert "c" in store  # it was extracted: not the same as a video without features
        with pytest.raises(FeatureError, match=r"of c lie in .*shards/1/i3d\.h5, which is missing"):
            store.get("c")
        assert store.get("a").features.shape == (6, 5)
    with pytest.raises(FeatureError, match=r"1 shards are missing: .*shards/1/i3d\.h5"):
        merge(dataset)


def test_shards_made_in_another_way_are_refused(dataset):
    with h5py.File(dataset / "shards" / "1" / "i3d.h5", "r+") as file:
        file.attrs["provenance"] = json.dumps(PROVENANCE | {"stride": 16})
    with pytest.raises(FeatureError, match=r"shards/1/i3d\.h5.*stride is 16, there 8"):
        merge(dataset)
    assert not (dataset / "merged" / "i3d.h5").exists()


def test_shards_of_other_machines_and_versions_are_merged(dataset):
    for shard, version in (("0", "5.1.9"), ("1", "6.1")):
        with h5py.File(dataset / "shards" / shard / "i3d.h5", "r+") as file:
            frames = {"short_side": 256, "versions": {"ffmpeg": version}}
            file.attrs["provenance"] = json.dumps(PROVENANCE | {"frames": frames, "versions": {"torch": version}})
    with FeatureStore(merge(dataset)) as store:
        assert store.video_ids == ["a", "b", "c", "d"]
        machines = store.provenance["merged"]["machines"]
    # Which machine, and which versions, made how many of them.
    assert machines == [
        {
            "made": {"device": "cpu", "frames": {"versions": {"ffmpeg": version}}, "versions": {"torch": version}},
            "shards": 1,
        }
        for version in ("5.1.9", "6.1")
    ]
    with h5py.File(dataset / "shards" / "1" / "i3d.h5", "r+") as file:
        file.attrs["provenance"] = json.dumps(PROVENANCE | {"frames": frames | {"short_side": 128}})
    with pytest.raises(FeatureError, match=r"frames is \{'short_side': 128\}, there \{'short_side': 256\}"):
        merge(dataset)


def test_a_merged_file_tells_what_extracted_and_what_merged(dataset):
    for shard in "01":
        with h5py.File(dataset / "shards" / shard / "i3d.h5", "r+") as file:
            file.attrs["provenance"] = json.dumps(PROVENANCE | {"code_digest": "of extraction", "device": "cuda"})
    with FeatureStore(merge(dataset)) as store:
        about = store.provenance
    assert about["code_digest"] == "of extraction" and about["device"] == "cuda"
    merged = about["merged"]
    assert merged["code_digest"] == "of merging" and merged["shards"] == 2
    assert merged["machines"] == [{"made": {"device": "cuda", "versions": {"torch": "1"}}, "shards": 2}]
    assert merged["versions"]["h5py"] == h5py.__version__ and "torch" not in merged["versions"]
    with FeatureStore(merge(dataset, pca_components=2)) as store:
        assert store.provenance["merged"]["versions"]["torch"] == torch.__version__.partition("+")[0]


def sealed(dataset, change):
    """The second shard with checksums, and altered by `change` afterwards."""
    with h5py.File(dataset / "shards" / "1" / "i3d.h5", "r+") as file:
        seal_file(file)
        change(file)


def test_altered_features_of_a_shard_are_refused_where_they_are_read(dataset):
    def change(file):
        file["features/c"][2, 3] += 1e-3

    sealed(dataset, change)
    with FeatureStore(merge(dataset)) as store:  # links are made without reading
        assert store.get("d").features.shape == (7, 5)
        with pytest.raises(DamageError, match=r"shards/1/i3d\.h5: the features of c are not what was.*vmr verify"):
            store.get("c")
    with pytest.raises(DamageError, match=r"shards/1/i3d\.h5: the features of c are not what was"):
        merge(dataset, pca_components=2)


@pytest.mark.parametrize("what", ["provenance", "video"])
def test_a_shard_with_other_contents_than_were_written_is_not_merged(dataset, what):
    def change(file):
        if what == "provenance":
            file.attrs["provenance"] = json.dumps(PROVENANCE | {"device": "other"})
        else:
            file.move("features/c", "features/e")

    sealed(dataset, change)
    with pytest.raises(DamageError, match=r"shards/1/i3d\.h5: what it holds is not what was written.*vmr verify"):
        merge(dataset)
    assert not (dataset / "merged" / "i3d.h5").exists()


def test_a_shard_that_was_cut_is_named(dataset):
    path = dataset / "shards" / "1" / "i3d.h5"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FeatureError, match=r"shards/1/i3d\.h5: not a readable HDF5 file.*vmr verify DATASET --delete"):
        merge(dataset)


def test_a_video_in_two_shards_is_refused(dataset):
    shutil.copy(dataset / "shards" / "0" / "i3d.h5", dataset / "shards" / "1" / "i3d.h5")
    with pytest.raises(FeatureError, match="a: lies in"):
        merge(dataset)


def test_statuses_and_shards_must_agree(dataset):
    with h5py.File(dataset / "shards" / "1" / "i3d.h5", "r+") as file:
        del file["features/d"]
    with pytest.raises(FeatureError, match="1 videos are marked ok but have no features in the shards named: d"):
        merge(dataset)


def test_a_status_file_that_was_cut_is_refused(dataset):
    path = dataset / "shards" / "1" / "status.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(FeatureError, match="1 videos have features, but no row in the status files of the shards: d"):
        merge(dataset)


def test_pca_sees_training_videos_only(dataset):
    path = merge(dataset, pca_components=2)
    training = np.concatenate([shard_features(dataset, shard, v) for shard, v in (("0", "a"), ("0", "b"), ("1", "c"))])
    _, _, rows = np.linalg.svd(training.astype(np.float64) - training.mean(axis=0), full_matrices=False)
    with FeatureStore(path) as store:
        projected = store.get("d").features
        assert store.dim == 2
        assert store.provenance["pca"]["components"] == 2 and store.provenance["pca"]["samples"] == len(training)
        np.testing.assert_allclose(store.get("d").start_sec, np.arange(7) / 3)
        np.testing.assert_allclose(store.get("d").end_sec, np.arange(1, 8) / 3)
    expected = (shard_features(dataset, "1", "d") - training.mean(axis=0)) @ rows[:2].T
    np.testing.assert_allclose(np.abs(projected), np.abs(expected), rtol=1e-3, atol=1e-5)
    with h5py.File(path) as file:
        assert file["pca/video_ids"].asstr()[()].tolist() == ["a", "b", "c"]
        assert file["pca/components"].shape == (2, 5)


def test_pca_needs_training_videos(dataset):
    with pytest.raises(FeatureError, match="no video of the split nothing has features"):
        merge(dataset, pca_components=2, train_split="nothing")


def test_a_pca_made_elsewhere_is_applied_and_named(dataset):
    random = np.random.default_rng(1)
    mean, components = random.normal(size=5), np.linalg.qr(random.normal(size=(5, 5)))[0][:2]
    np.savez(dataset / "theirs.npz", mean=mean, components=components)
    with FeatureStore(merge(dataset, pca=str(dataset / "theirs.npz"))) as store:
        expected = (shard_features(dataset, "1", "d") - mean) @ components.T
        np.testing.assert_allclose(store.get("d").features, expected, rtol=1e-5, atol=1e-6)
        about = store.provenance
    assert about["dim"] == 2 and about["pca"]["file"] == "theirs.npz" and len(about["pca"]["sha256"]) == 64
    assert about["pca"]["input_dim"] == 5 and "explained_share" not in about["pca"]
