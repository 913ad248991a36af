"""Input that wants to do harm: each kind is refused with a clear error, and nothing in it runs or leads elsewhere.

A row of SECURITY.md, "What is refused", for each test. Archives have more tests in `assets/test_archives.py`,
videos in `tests/faults`, sentences as markup in `report/test_page.py`.
"""

import json
import pickle
import random
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner
from written import write_first_seconds

from vmr.annotations.moments import moments_table, read_moments, write_moments
from vmr.annotations.read import read_annotations
from vmr.assets.archives import extract_files, extract_member
from vmr.assets.flax_i3d import load_flax_pickle
from vmr.cli import app
from vmr.config import load_config, read_config
from vmr.config.feature_sections import ImportSettings
from vmr.config.yaml_once import load_once
from vmr.errors import AnnotationError, AssetError, CheckpointError, ConfigError, FeatureError
from vmr.features.c3d import load_crop_mean
from vmr.features.importers import import_features
from vmr.features.pca import read_pca
from vmr.features.weights import read_weights
from vmr.locate.model_file import read_model
from vmr.training.checkpoint import load_checkpoint, load_state

ROOT = Path(__file__).parents[3]


@pytest.fixture
def evil(tmp_path):
    """A value whose pickle, when it is read, writes a file; the test fails if it did."""
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return ran.write_text, ("code ran",)

    yield Evil()
    assert not ran.exists(), "code of the file ran"


def save_with_torch(value, path):
    torch.save({"conv.weight": value}, path)


def save_with_pickle(value, path):
    path.write_bytes(pickle.dumps({"conv.weight": value}, protocol=2))


# Archives


@pytest.mark.parametrize(
    "name", ["../evil.mp4", "/tmp/evil.mp4", "a/../../evil.mp4", "..\\evil.mp4", "\\evil.mp4", "C:\\evil.mp4"]
)
def test_archives_with_paths_that_lead_out(tmp_path, name):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("good.mp4", b"1")
        file.writestr(name, b"2")
    with pytest.raises(AssetError, match="leads out of a folder"):
        extract_files(path, tmp_path / "out", suffixes=(".mp4",), limit_bytes=100)
    with pytest.raises(AssetError, match="leads out of a folder"):
        extract_member(path, "good.mp4", output=tmp_path / "o", limit_bytes=100)
    assert not list(tmp_path.rglob("*.mp4"))


def test_archives_with_links(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("x.mp4")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(AssetError, match="link or a folder"):
        extract_files(tmp_path / "a.zip", tmp_path / "out", suffixes=(".mp4",), limit_bytes=100)
    with pytest.raises(AssetError, match="link or a folder"):
        extract_member(tmp_path / "a.zip", "x.mp4", output=tmp_path / "o", limit_bytes=100)


def test_archives_that_unpack_to_more_than_is_honest(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.mp4", random.Random(0).randbytes(10_000))
    with pytest.raises(AssetError, match="unpacks to 10,000 bytes; at most 1,000"):
        extract_files(tmp_path / "a.zip", tmp_path / "out", suffixes=(".mp4",), limit_bytes=1000)


# Annotations


@pytest.mark.parametrize("video_id", ["../x", "a/c", "/etc/passwd", "c:\\windows\\system", "../.."])
def test_annotations_whose_ids_are_paths_lead_to_no_folder(tmp_path, video_id):
    (tmp_path / "a.txt").write_text(f"{video_id} 0.0 1.0##a person sits.\nb 0 1##b.\n")
    captions = {name: {"duration": 3.0, "timestamps": [[0, 1]], "sentences": ["A b."]} for name in (video_id, "b")}
    (tmp_path / "a.json").write_text(json.dumps(captions))
    (tmp_path / "a.csv").write_text(f"video,start,end,sentence\n{video_id},0,1,A person sits.\nb,0,1,b.\n")
    for name in ("a.txt", "a.json", "a.csv"):
        (parsed,) = read_annotations({"train": [tmp_path / name]}, annotation_format="auto")["train"]
        ids = {query.video_id for query in parsed.queries}
        assert "b" in ids and len(ids) + len(parsed.malformed) == 2
        assert not any(set("/\\") & set(name) or name in ("", ".", "..") for name in ids)


# Pickles in place of weights


@pytest.mark.parametrize("save", [save_with_torch, save_with_pickle])
@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.ckpt", "w.safetensors"])
def test_weights_of_extractors(tmp_path, evil, save, name):
    save(evil, tmp_path / name)
    with pytest.raises((AssetError, FeatureError), match=rf"{name}: (refused as weights|damaged safetensors file)"):
        read_weights(tmp_path / name)


def test_weights_of_the_package(tmp_path, evil):
    save_with_pickle(evil, tmp_path / "w.ckpt")
    with pytest.raises(AssetError, match=r"refused as weights: it refers to"):
        load_flax_pickle(tmp_path / "w.ckpt")


@pytest.mark.parametrize("save", [save_with_torch, save_with_pickle])
def test_checkpoints_and_exported_models(tmp_path, evil, save):
    save(evil, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of this program"):
        load_checkpoint(tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=r"not a model .*Export it again"):
        read_model(tmp_path / "m.safetensors")


def test_the_state_of_an_unfinished_run(tmp_path, evil):
    torch.save({"fingerprint": "f", "model": evil}, tmp_path / "state.pt")
    assert load_state(tmp_path / "state.pt", fingerprint="f") is None  # training begins anew


def test_arrays_of_objects(tmp_path, evil):
    objects = np.array([evil, 1], dtype=object)
    np.save(tmp_path / "mean.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "pca.npz", mean=objects, components=objects)
    with pytest.raises(FeatureError, match=r"mean\.npy"):
        load_crop_mean(tmp_path / "mean.npy")
    with pytest.raises(FeatureError, match=r"pca\.npz: not a readable PCA"):
        read_pca(tmp_path / "pca.npz")


# Arrays that claim more than they hold, and what is no array


def test_weights_of_the_package_that_claim_much_or_never_end(tmp_path):
    class Large:
        def __reduce__(self):
            return np.ndarray, ((2**40,), "u1")

    save_with_pickle(Large(), tmp_path / "large.ckpt")
    deep = levels = {}
    for _ in range(5):
        levels["a"] = levels = {}
    levels["a"] = deep  # it holds itself
    save_with_pickle(deep, tmp_path / "deep.ckpt")
    for name in ("large.ckpt", "deep.ckpt"):
        with pytest.raises(AssetError, match=f"{name}: refused as weights"):
            load_flax_pickle(tmp_path / name)


@pytest.mark.parametrize("value", ["claim", "bytes", "nothing"])
def test_mean_clips_that_are_none(tmp_path, value):
    path = tmp_path / "mean.npy"
    if value == "bytes":
        np.save(path, np.full((16, 112, 112, 3), b"a"))
    else:
        with path.open("wb") as file:
            if value == "claim":
                header = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**6)}
                np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(FeatureError, match=r"mean\.npy: (cannot be read as|expected) the mean clip of C3D"):
        load_crop_mean(path)


# Each puts something that is no array of the file's own under a name of an HDF5 file.


def link(file, name, secret):
    file[name] = h5py.ExternalLink(str(secret), "x")


def external_storage(file, name, secret):
    """HDF5 can lay a dataset over the bytes of any file."""
    file.create_dataset(name, shape=(4,), dtype=np.uint8, external=[(str(secret), 0, 4)])


def times(file, name, secret):
    """Of a type that NumPy has not."""
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((4,)))


def pca_group_link(file, name, secret):
    file["pca"] = h5py.ExternalLink(str(secret), "/")


def pca_claim(file, name, secret):
    file.create_dataset(name, shape=(10**15,), dtype=np.float64, chunks=(10**6,))


def pca_no_array(file, name, secret):
    file.create_group(name)


def pca_no_group(file, name, secret):
    file["pca"] = np.ones(4)


def pca_bytes(file, name, secret):
    file[name] = np.array([b"a"] * 4)


@pytest.mark.parametrize(
    "make", [link, pca_group_link, external_storage, pca_claim, pca_no_array, pca_no_group, pca_bytes, times]
)
def test_pcas_that_lead_elsewhere_or_are_none(tmp_path, make):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = file["mean"] = np.ones(4)
        file["components"] = np.ones((2, 4))
    with h5py.File(tmp_path / "pca.h5", "w") as file:
        file["components"] = np.ones((2, 4))
        make(file, "mean", tmp_path / "secret.h5")
    with pytest.raises(FeatureError, match=r"pca\.h5: (not a readable PCA|expected numbers in mean)"):
        read_pca(tmp_path / "pca.h5")


def test_a_pca_that_unpacks_to_more_than_is_honest(tmp_path, monkeypatch):
    monkeypatch.setattr("vmr.features.foreign_files._LARGEST_BYTES", 100_000)
    np.savez_compressed(tmp_path / "pca.npz", mean=np.zeros(50_000), components=np.zeros((1, 50_000)))
    with pytest.raises(FeatureError, match=r"pca\.npz: not a readable PCA \(800,\d+ bytes, more than any honest array"):
        read_pca(tmp_path / "pca.npz")


# Features made elsewhere


@pytest.fixture
def refused(tmp_path):
    """Why the features of the only video, `a` of 4 s, are not imported from a source."""
    write_first_seconds(tmp_path / "moments.csv", train={"a": 4.0})

    def reason(source):
        with pytest.raises(FeatureError, match="1 of 1 videos found are unusable") as error:
            import_features(
                ImportSettings(source=str(source), layout="npy_folder" if source.is_dir() else "hdf5"), manifests=[],
                moments=tmp_path / "moments.csv", output=tmp_path / "out.h5", coverage=tmp_path / "coverage.csv",
                code_digest="",
            )  # fmt: skip
        assert not (tmp_path / "out.h5").exists()
        return str(error.value)

    return reason


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt"])
def test_imported_files_with_code(tmp_path, evil, refused, suffix):
    (tmp_path / "in").mkdir()
    objects, path = np.array([evil, 1], dtype=object), tmp_path / "in" / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, objects, allow_pickle=True)
    elif suffix == "npz":
        np.savez(path, x=objects)
    else:
        torch.save(evil, path)
    assert f"a.{suffix}: cannot be read as an array" in refused(tmp_path / "in")


def link_inside(file, name, secret):
    file[name] = h5py.SoftLink("/elsewhere")
    file["elsewhere"] = h5py.ExternalLink(str(secret), "x")


def link_in_group(file, name, secret):
    file.create_group(name)["c3d_features"] = h5py.ExternalLink(str(secret), "x")


def virtual(file, name, secret):
    layout = h5py.VirtualLayout(shape=(4, 4), dtype=np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "x", shape=(4, 4))
    file.create_virtual_dataset(name, layout)


def test_imported_hdf5_of_a_type_that_numpy_has_not(tmp_path, refused):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        times(file, "a", None)
    assert "a: cannot be read: " in refused(tmp_path / "in.h5")


@pytest.mark.parametrize("make", [link, link_inside, link_in_group, external_storage, virtual])
def test_imported_hdf5_that_leads_to_other_files(tmp_path, refused, make):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones((4, 4), np.float32)
    with h5py.File(tmp_path / "in.h5", "w") as file:
        make(file, "a", tmp_path / "secret.h5")
    reason = refused(tmp_path / "in.h5")
    assert "is a link; copy into the file" in reason or "expected a dataset in the file itself" in reason


def test_imported_files_that_are_damaged(tmp_path, refused):
    """Where the reader's own parts of the file are hit, NumPy and h5py raise other errors than for the data."""
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", np.ones((4, 4)))
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["a"] = np.ones((4, 4))
    for path, old, new in ((tmp_path / "in" / "a.npy", b"}", b"("), (tmp_path / "in.h5", b"HEAP", b"heap")):
        path.write_bytes(path.read_bytes().replace(old, new))
    assert "a.npy: cannot be read as an array" in refused(tmp_path / "in")
    assert "a: cannot be read: " in refused(tmp_path / "in.h5")


def test_imported_files_that_claim_more_than_they_hold(tmp_path, refused, monkeypatch):
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "a.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 1000)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(64))
    assert "a.npy: cannot be read as an array" in refused(tmp_path / "in")
    (tmp_path / "in" / "a.npy").unlink()
    monkeypatch.setattr("vmr.features.foreign_files._LARGEST_BYTES", 100_000)
    np.savez_compressed(tmp_path / "in" / "a.npz", x=np.zeros((1000, 100), np.float32))  # 400 kB in 1 kB
    assert "more than any honest array has" in refused(tmp_path / "in")
    with h5py.File(tmp_path / "in.h5", "w") as file:  # nothing of it is stored
        file.create_dataset("a", shape=(1000, 100), dtype=np.float32, chunks=(10, 10))
    assert "more than any honest array has" in refused(tmp_path / "in.h5")


# Configuration


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("datasets: " + "[" * 100_000, "nested more than 50 deep"),
        ("\n".join(" " * depth + "a:" for depth in range(300)), "nested more than 50 deep"),
        # Nine aliases nine times: 9 ** 9 values in half a kilobyte.
        (
            "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n},' * 9}]\n" for n in range(9)),
            "more than 100,000 values",
        ),
        (
            "a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{f'*a{n},' * 9}]}}\n" for n in range(9)),
            "more than 100,000 values",
        ),
        ("datasets: &a {x: *a}", r"`\*a` stands inside of what it stands for"),
        *(
            (f"datasets: {tag}", "could not determine a constructor")
            for tag in ("!!python/object/apply:os.system [touch ran]", "!!python/name:os.system", "!x 1")
        ),
    ],
)
def test_yaml_that_has_no_end_or_names_code_is_refused_in_words(tmp_path, text, reason):
    (tmp_path / "other.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"other\.yaml: is not plain YAML: (?s:.)*{reason}"):
        read_config(tmp_path / "other.yaml")


def test_anchors_are_read(tmp_path):
    text = (ROOT / "config.yaml").read_text().replace("training:\n", "training: &t\n", 1)
    (tmp_path / "other.yaml").write_text(text)
    assert read_config(tmp_path / "other.yaml") == read_config(ROOT / "config.yaml")
    assert load_once("a: &a {x: 1}\nb: {<<: *a, y: *a}") == {"a": {"x": 1}, "b": {"x": 1, "y": {"x": 1}}}


@pytest.mark.parametrize("name", ["../evil", "a/b", "a; touch x", "$(touch x)", ""])
@pytest.mark.parametrize("where", ["dataset", "test split", "annotated split", "kind of features"])
def test_names_that_become_paths(tmp_path, where, name):
    section = {
        "title": "Mine",
        "annotation_format": "charades_sta",
        "annotations": {"train": ["a.txt"], name if where == "annotated split" else "test": ["b.txt"]},
        "videos": "videos",
        "test_splits": {name if where == "test split" else "test": ["train"]},
        "overrides": {},
    }
    if where == "kind of features":
        section["overrides"] = {"features": {"import": {"source": "f.h5", "layout": "hdf5", "kind": name}}}
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    values["datasets"][name if where == "dataset" else "mine"] = section
    with pytest.raises(ConfigError, match=r"is not a name|should match pattern"):
        load_config(values)


# Names, to terminals and tables


def test_escapes_in_names_reach_neither_terminal_nor_log(tmp_path):
    name = "a\x1b[2J\x07\u202egpj"
    said = CliRunner().invoke(app, ["config", "check", str(tmp_path / name)]).stderr
    assert "\x1b[2J" not in said and r"a\x1b[2J\x07\u202egpj" in said
    warn = "import logging; from vmr.cli import app; app(['config', 'methods'], standalone_mode=False)"
    said = subprocess.run(
        [sys.executable, "-c", f"{warn}; logging.warning({name!r})"], capture_output=True, text=True, check=True
    ).stderr
    assert "\x1b" not in said and r"a\x1b[2J\x07\u202egpj" in said


@pytest.mark.parametrize("sentence", ["=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-2+3"])
def test_formulas_stay_the_sentences_that_they_are(tmp_path, sentence):
    """Tables are read again by us, so nothing may be put before a cell; SECURITY.md says how to open them."""
    (tmp_path / "a.csv").write_text(f'video,start,end,sentence\n=v,0,1,"{sentence}"\n')
    (parsed,) = read_annotations({"train": [tmp_path / "a.csv"]}, annotation_format="auto")["train"]
    write_moments(moments_table([("train", "train", query) for query in parsed.queries], {}), tmp_path / "moments.csv")
    table = read_moments(tmp_path / "moments.csv")
    assert (table["sentence"].item(), table["video_id"].item()) == (sentence, "=v")


def test_eaf_whose_entities_multiply_or_lead_elsewhere(tmp_path):
    laughs = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    begin = "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a0 'ha'>{}]><ANNOTATION_DOCUMENT>{}</ANNOTATION_DOCUMENT>"
    for entities, used in ((laughs, "&a9;"), (f'<!ENTITY b SYSTEM "file://{ROOT}/LICENSE">', "&b;")):
        (tmp_path / "a.eaf").write_text(begin.format(entities, used))
        with pytest.raises(AnnotationError, match=r"a\.eaf"):
            read_annotations({"train": [tmp_path / "a.eaf"]}, annotation_format="auto")
