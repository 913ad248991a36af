"""A dataset with one fault of each kind, and the same without any."""

import copy
import shutil
from contextlib import contextmanager, nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner
from written import write_features

from vmr.cli import app
from vmr.config import load_config
from vmr.doctor.check_features import HeldFeatures, check_features, odd_steps
from vmr.doctor.examine import examine
from vmr.errors import AnnotationError
from vmr.video.manifest import MANIFEST_COLUMNS, write_manifest

SECTION = {
    "title": "Mine",
    "annotation_format": "charades_sta",
    "annotations": {"train": "train.txt", "test": "test.txt"},
    "durations": ["durations.csv"],
    "videos": "videos",
    "test_splits": {"test": "test"},
}
EXTRACTORS = {"i3d": {"weights": "i3d_kinetics400_rgb", "window": 64, "stride": 8}}
HELD = {"source": "held", "layout": "npy_folder", "fps": 24, "stride": 8}
VIDEOS = ("a", "b", "c", "d")


class Dataset:
    """Files of a dataset of four videos of 10 s in a folder, and its configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.section = copy.deepcopy(SECTION)
        self.lines = {
            "train": ["a 0.0 4.0##a person sits.", "b 1.0 5.0##a dog runs."],
            "test": ["c 2.0 9.0##it rains."],
        }
        self.lines["test"].append("d 2.0 11.0##the sun shines.")
        self.seconds = dict.fromkeys(VIDEOS, 10.0)
        (folder / "videos").mkdir()
        for video_id in VIDEOS:
            (folder / "videos" / f"{video_id}.mp4").write_bytes(b"film")
        random = np.random.default_rng(0)
        self.features = {video_id: random.normal(size=(30, 6)).astype(np.float32) for video_id in VIDEOS}
        self.rows = {video_id: {"status": "ok", "duration_sec": 10.0, "fps": 24.0} for video_id in VIDEOS}

    @property
    def config(self):
        return {"datasets": {"mine": self.section}, "features": EXTRACTORS}

    def write_annotations(self):
        for split, lines in self.lines.items():
            (self.folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
        text = "".join(f"{video_id},{seconds}\n" for video_id, seconds in self.seconds.items())
        (self.folder / "durations.csv").write_text("id,length\n" + text)

    def write_manifest(self):
        rows = [{"video_id": video_id} | row for video_id, row in self.rows.items()]
        write_manifest(rows, self.folder / "work/mine/videos/shard_0.csv", columns=MANIFEST_COLUMNS)

    def write_store(self):
        path = self.folder / "work/mine/features/i3d.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_features(path, self.features, extractor="i3d", dim=6)

    def write_held(self):
        self.section["overrides"] = {"features": {"import": HELD}}
        (self.folder / "held").mkdir()
        for video_id, features in self.features.items():
            np.save(self.folder / "held" / f"v_{video_id}.npy", features)

    def findings(self):
        self.write_annotations()
        findings = examine(load_config(self.config), "mine")
        return {finding.check: finding for finding in findings}

    def wrong(self, level="wrong"):
        return {name: finding.examples for name, finding in self.findings().items() if finding.level == level}

    def notes(self):
        """What is left out, and so stops no run; without what is said of every such small dataset."""
        usual = ("queries: few training sentences", "annotations: a little past the end")
        return {name: examples for name, examples in self.wrong("note").items() if name not in usual}


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Dataset(tmp_path)


def test_nothing_is_wrong_with_a_sound_dataset(dataset):
    dataset.write_manifest()
    dataset.write_store()
    findings = dataset.findings()
    # Features of our own come with the seconds of their steps.
    rate = findings.pop("features (i3d): frame rate")
    assert rate.level == "skipped" and rate.examples == ("no rate is stated to compare with that of the videos",)
    assert findings.pop("queries: without a known word").level == "skipped"  # no vectors are there
    assert findings.pop("queries: few training sentences").level == "note"
    assert {finding.level for finding in findings.values()} == {"ok", "note"}
    # One second past the end is as usual: worth knowing, not wrong.
    assert [name for name, finding in findings.items() if finding.level == "note"] == [
        "annotations: a little past the end"
    ]
    assert findings["annotations: a little past the end"].examples == ("test:2 (d): 2 to 11 s of 10.00 s",)


def test_what_is_not_made_yet_is_not_checked(dataset):
    findings = dataset.findings()
    assert findings["features (i3d)"].level == "skipped"
    assert "snakemake --cores all work/mine/features/i3d.h5" in findings["features (i3d)"].examples[0]
    assert findings["videos: frame rate"].level == "skipped"


def test_durations_that_only_videos_tell(dataset):
    dataset.section["durations"] = []
    assert dataset.findings()["annotations: unknown duration"].level == "skipped"
    dataset.rows["a"] = {"status": "bad", "reason": "no video stream"}
    dataset.rows["b"] |= {"duration_sec": float("nan")}
    dataset.write_manifest()
    assert dataset.wrong() == {}
    assert dataset.notes() == {
        "annotations: unknown duration": ("b",),  # of a broken one the next check tells
        "videos: broken": ("a: no video stream",),
    }
    for video_id in "bcd":
        dataset.rows[video_id] |= {"status": "bad", "reason": "empty"}
    dataset.write_manifest()
    assert set(dataset.wrong()) == {"videos: broken"}  # all of them


def test_annotations(dataset):
    dataset.lines["train"] += [
        "a 0.0 4.0##A person sits",  # line 1 again
        "b 3.0 2.0##a dog barks.",
        "b 3 to 4##a dog barks.",
        "b 4.0 11.7##a dog runs away.",
        "b 10.0 10.5##a cat comes.",
        "e 1.0 2.0##of unknown length.",
    ]
    dataset.lines["test"].append("a 1.0 2.0##a person stands.")
    (dataset.folder / "videos" / "e.mp4").write_bytes(b"film")
    assert dataset.wrong() == {
        "annotations: past the end": (
            "train:6 (b): 4 to 11.7 s of 10.00 s",
            "train:7 (b): 10 to 10.5 s of 10.00 s",
        ),
        "annotations: same annotation twice": ("train:3 is train:1: a, 'A person sits'",),
        "annotations: video in training and test": ("a",),
    }
    assert dataset.notes() == {
        "annotations: malformed lines": ("train.txt:5: the start 'to' is not a number of seconds",),
        "annotations: start at or after the end": ("train.txt:4: starts at 3.0 s but ends at 2.0 s",),
        "annotations: unknown duration": ("e",),
        "queries: one sentence several times in a video": ("a: 'a person sits', 2 times",),
    }
    dataset.lines["test"] += ["c##no times."]  # two of twelve lines
    assert "annotations: malformed lines" in dataset.wrong()


def test_videos(dataset):
    (dataset.folder / "videos" / "c.mp4").unlink()
    dataset.rows["a"] |= {"duration_sec": 14.0}
    dataset.rows["b"] |= {"status": "bad", "reason": "no video stream"}
    dataset.rows["c"] = {"status": "missing"}
    dataset.rows["d"] |= {"fps": 6.0}
    dataset.write_manifest()
    assert dataset.wrong() == {"videos: length against duration": ("a: 14.00 s, annotated 10.00 s",)}
    assert dataset.notes() == {
        "videos: missing": ("c",),
        "videos: broken": ("b: no video stream",),
        "videos: frame rate": ("d: 6.000",),
    }
    for video_id in "abd":
        (dataset.folder / "videos" / f"{video_id}.mp4").unlink()
    assert dataset.wrong()["videos: missing"] == ("a", "b", "c")  # all of them


def spoil(features):
    features["a"][[2, 5], 3] = np.nan
    features["b"][4:7] = 0.0
    features["c"] = features["c"][:20]


def test_extracted_features(dataset):
    spoil(dataset.features)
    del dataset.features["d"]
    dataset.write_store()
    assert dataset.notes() == {"features (i3d): missing": ("d",)}
    assert dataset.wrong() == {
        "features (i3d): NaN or infinity": ("a: 2 of 30 steps",),
        "features (i3d): constant rows": ("b: 3 of 30 steps have equal numbers",),
        "features (i3d): length against duration": ("c: its 20 steps end at 6.67 s, its duration is 10.00 s",),
    }


def test_imported_features_are_read_at_their_source(dataset):
    spoil(dataset.features)
    dataset.features["d"][:] = dataset.features["d"][0]
    dataset.write_held()
    dataset.section.pop("videos")
    assert dataset.wrong() == {
        "features (imported): NaN or infinity": ("a: 2 of 30 steps",),
        "features (imported): constant rows": (
            "b: 3 of 30 steps have equal numbers",
            "d: its 30 steps are all the same",
        ),
        "features (imported): length against duration": (
            "c: 20 steps of 0.333 s are 6.67 s, its duration is 10.00 s: expected about 30 steps",
        ),
    }


def test_features_of_ours_that_are_imported_have_their_own_seconds(dataset, monkeypatch):
    monkeypatch.setitem(globals(), "HELD", {"source": "work/mine/features/i3d.h5", "layout": "hdf5"})
    spoil(dataset.features)
    dataset.write_store()
    dataset.write_held()
    assert dataset.wrong() == {
        "features (imported): NaN or infinity": ("a: 2 of 30 steps",),
        "features (imported): constant rows": ("b: 3 of 30 steps have equal numbers",),
        "features (imported): length against duration": ("c: its 20 steps end at 6.67 s, its duration is 10.00 s",),
    }


def test_lengths_of_imported_features_wait_for_durations(dataset, monkeypatch):
    monkeypatch.setitem(globals(), "HELD", {"source": "held", "layout": "npy_folder"})  # spread over the durations
    dataset.section["durations"] = []
    dataset.write_held()
    assert dataset.wrong() == {}
    assert dataset.findings()["features (imported): length against duration"].level == "skipped"
    dataset.rows["c"] |= {"duration_sec": float("nan")}
    dataset.write_manifest()
    (length,) = dataset.wrong()["features (imported): length against duration"]
    assert length.startswith("c: its duration is unknown")


def test_rates_of_whole_windows(dataset, monkeypatch):
    monkeypatch.setitem(globals(), "HELD", HELD | {"window": 64})
    # 240 frames at 24 a second: 23 whole windows, whose strides alone would be 10 s at 18.4.
    dataset.features = {video_id: features[:23] for video_id, features in dataset.features.items()}
    dataset.rows["a"]["fps"] = 18.4
    dataset.write_manifest()
    dataset.write_held()
    assert dataset.wrong() == {}


def test_one_video_under_two_names_and_a_file_that_is_no_array(dataset):
    dataset.features["d"] = dataset.features["b"].copy()
    dataset.write_held()
    (dataset.folder / "held" / "v_a.npy").write_text("text")
    (dataset.folder / "held" / "v_c.npy").unlink()
    wrong = dataset.wrong()
    assert wrong.pop("features (imported): unusable")[0].startswith("a: v_a.npy: cannot be read as an array")
    assert wrong == {"features (imported): identical in two videos": ("d is b",)}
    assert dataset.notes() == {"features (imported): missing": ("c",)}


@pytest.mark.parametrize(("write", "kind"), [("write_held", "imported"), ("write_store", "i3d")])
def test_vectors_of_another_length(dataset, write, kind):
    dataset.features["c"] = np.random.default_rng(1).normal(size=(30, 7))
    getattr(dataset, write)()
    assert dataset.wrong() == {
        f"features ({kind}): vectors of another length": ("c: vectors of 7 numbers, those of 3 of 4 videos have 6",),
    }


def test_frozen_stretches_are_a_note(dataset):
    for video_id, begin, end in (("a", 0, 8), ("b", 3, 10), ("c", 22, 30), ("d", 5, 30)):
        dataset.features[video_id][begin:end] = dataset.features[video_id][begin]
    dataset.features["d"][5:30] = 0.5  # of equal numbers: told as such
    dataset.write_held()
    finding = dataset.findings()["features (imported): frozen stretches"]
    # The seven equal steps of b may be a title.
    assert finding.level == "note" and finding.examples == (
        "a: steps 1 to 8 of 30 are the same",
        "c: steps 23 to 30 of 30 are the same",
    )
    assert list(dataset.wrong()) == ["features (imported): constant rows"]


def test_a_video_of_one_step_has_no_stretch(dataset):
    dataset.features = {video_id: features[:1] for video_id, features in dataset.features.items()}
    dataset.write_store()
    assert dataset.findings()["features (i3d): frozen stretches"].level == "ok"


def test_a_frame_rate_that_nothing_tells_is_not_checked(dataset):
    dataset.write_held()
    finding = dataset.findings()["features (imported): frame rate"]
    assert finding.level == "skipped" and finding.examples == ("no video that has features has been probed",)
    dataset.write_manifest()
    assert dataset.findings()["features (imported): frame rate"].level == "ok"


def test_a_damaged_video_is_unusable_and_the_others_are_looked_at(dataset):
    dataset.features["b"][4:7] = 0.0
    dataset.write_store()
    with h5py.File(dataset.folder / "work/mine/features/i3d.h5", "r+") as file:
        del file["features/a"]
        file["features/a"] = np.dtype("f4")  # a type, as an altered byte can make of a dataset
    wrong = dataset.wrong()
    assert "work/mine/features/i3d.h5: what it holds of a cannot be read" in wrong["features (i3d): unusable"][0]
    assert wrong["features (i3d): constant rows"] == ("b: 3 of 30 steps have equal numbers",)


def test_features_at_the_videos_own_rate(dataset):
    # 10 s at 30 frames a second are 38 steps of 8 frames, at 24 they would be 30.
    dataset.features["a"] = np.random.default_rng(1).normal(size=(38, 6))
    dataset.rows["a"]["fps"] = 30.0
    dataset.rows["b"]["fps"] = 30.0  # its features were made from frames at 24 a second
    dataset.write_manifest()
    dataset.write_held()
    wrong = dataset.wrong()
    assert wrong["features (imported): frame rate"] == (
        "a: 38 steps of 8 frames are 10.00 s at its 30.00 frames a second, not at 24",
    )


def test_the_command_prints_a_line_a_check_and_tells_by_its_exit_code(dataset):
    dataset.write_annotations()
    dataset.write_store()
    (dataset.folder / "config.yaml").write_text(yaml.safe_dump(dataset.config))
    result = CliRunner().invoke(app, ["doctor", "mine"])
    assert result.exit_code == 0, result.output
    assert "mine: nothing is wrong." in result.output
    (dataset.folder / "videos" / "c.mp4").unlink()
    dataset.lines["test"].append("a 1.0 2.0##a person stands.")
    dataset.write_annotations()
    result = CliRunner().invoke(app, ["doctor", "mine", "--config", "config.yaml"])
    assert result.exit_code == 1
    line = next(line for line in result.output.splitlines() if "videos: missing" in line)
    assert line.split()[:4] == ["note", "videos:", "missing", "1"] and " c. 3 of 4 are in videos" in line
    assert result.output.splitlines()[-1] == "mine: 1 checks found something wrong."
    result = CliRunner().invoke(app, ["doctor", "mien"])
    assert result.exit_code == 1 and "did you mean `mine`" in result.output


def test_annotations_that_the_workflow_fetches_are_asked_for(dataset):
    dataset.section["annotations"] = dataset.section["annotations"] | {"train": "data/train.txt"}
    dataset.section["fetch"] = {"data/train.txt": "charades_sta_train"}
    with pytest.raises(AnnotationError, match=r"train\.txt: not there yet; `snakemake --cores 1 work/mine/annotations"):
        examine(load_config(dataset.config), "mine")


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_the_unit_of_the_times_is_asked_of_a_few_videos(dataset, shared_data):
    dataset.section["durations"] = []
    assert dataset.findings()["annotations: unit of the times"].level == "skipped"  # these are no videos
    for video_id in VIDEOS:
        shutil.copy(shared_data / "videos/nasa_13013.mp4", f"videos/{video_id}.mp4")  # 13 s
    assert dataset.findings()["annotations: unit of the times"].level == "ok"
    dataset.lines = {split: [f"{video_id} 500 4000##it rains."] for split, video_id in (("train", "a"), ("test", "b"))}
    assert "look like milliseconds" in dataset.wrong()["annotations: unit of the times"][0]


def test_charades_sta_itself_has_nothing_wrong(shared_data, tmp_path):
    folder = shared_data / "charades_sta"
    section = SECTION | {
        "annotations": {split: str(folder / f"charades_sta_{split}.txt") for split in ("train", "test")},
        "durations": [str(folder / f"Charades_v1_{split}.csv") for split in ("train", "test")],
    }
    findings = examine(load_config({"datasets": {"mine": section}, "features": EXTRACTORS}), "mine", work=tmp_path)
    wrong = [finding for finding in findings if finding.level == "wrong"]
    # 5,338 and 1,334 videos, none of which is here; two are named only in lines with start >= end.
    assert [(finding.check, finding.count) for finding in wrong] == [("videos: missing", 6670)]
    notes = {finding.check: finding.count for finding in findings if finding.level == "note"}
    # 1,805 + 562 lines end after their video, three of them with start >= end (so not in the table of moments).
    assert notes == {"annotations: start at or after the end": 4, "annotations: a little past the end": 2364}


def test_transposed_arrays(dataset):
    dataset.features = {video_id: np.ascontiguousarray(own.T) for video_id, own in dataset.features.items()}
    dataset.write_held()
    wrong = dataset.wrong()["features (imported): length against duration"]
    assert "6 steps of 30 numbers for a video of 10.00 s: the arrays are transposed" in wrong[0]


@pytest.mark.parametrize("lengths", [{"a": 90, "b": 100, "c": 36}, {"a": 75, "b": 75}])
def test_arrays_that_have_equally_many_rows_are_transposed(lengths):

    @contextmanager
    def opened():
        yield lambda video_id: np.random.default_rng(1).normal(size=(1024, lengths[video_id]))

    held = HeldFeatures(name="x", open=opened, check_length=lambda shape, video_id: None, advice="")
    findings = {finding.check: finding for finding in check_features(held, lengths, {}, trained=lengths)}
    finding = findings["features (x): transposed arrays"]
    assert finding.level == "wrong" and finding.examples == ("all have 1,024 rows",)
    assert "`transposed: true`" in finding.advice


def test_a_folder_without_the_videos_is_told_by_what_it_holds(dataset):
    dataset.write_held()
    for path in list((dataset.folder / "held").iterdir()):
        path.rename(path.with_name(f"{path.stem}_rgb.npy"))
    finding = dataset.findings()["features (imported): missing"]
    assert finding.level == "wrong" and '`pattern: "' in finding.advice and '{id}_rgb.npy"`' in finding.advice


def test_a_name_that_differs_in_case_is_asked_for(dataset):
    dataset.write_held()
    path = sorted((dataset.folder / "held").iterdir())[0]
    path.rename(path.with_name(f"{path.stem.upper()}_.npy"))
    video_id = path.stem.removeprefix("v_")
    assert f"{video_id} (is it {path.stem.upper()}_?)" in dataset.findings()["features (imported): missing"].examples


# Thirty videos of 20 to 78 s, three steps a second; then those of the next video but six, or at another rate.
SECONDS = [20.0 + 2.0 * n for n in range(30)]


@pytest.mark.parametrize(
    ("steps", "fps", "said"),
    [
        ([3 * own for own in SECONDS], None, []),
        ([min(3 * own, 120) for own in SECONDS], None, []),  # cut
        ([64.0] * 30, None, []),  # of one number
        ([3 * SECONDS[n * 7 % 30] for n in range(30)], None, ["longer videos do not have more steps"]),
        ([min(3 * SECONDS[n * 7 % 30], 190) for n in range(30)], None, ["longer videos do not have more steps"]),
        ([3 * own for own in SECONDS], 24.0, []),
        ([3 * own - 7 for own in SECONDS], 24.0, []),  # whole windows of 64 frames
        ([3 * own for own in SECONDS], 25.0, ["they fit 24 frames a second, not 25"]),
        ([round(23.976 / 8 * own) for own in SECONDS], 24.0, []),
    ],
)
def test_steps_that_do_not_follow_the_durations(steps, fps, said):
    held = HeldFeatures(
        "x", open=nullcontext, check_length=lambda *_: None, advice="", fps=fps, stride=8.0 if fps else None
    )
    found = odd_steps(list(zip(SECONDS, map(int, steps), strict=True)), held)
    assert len(found) == len(said) and all(own.startswith(text) for own, text in zip(found, said, strict=True))
