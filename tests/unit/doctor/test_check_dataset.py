"""The stage `check_dataset`: what is wrong stops a run before training, unless the dataset accepts it."""

import numpy as np
import pytest
from written import parsed, write_features

from vmr.config.sections import QuerySettings, VideoSettings
from vmr.doctor.check_dataset import check_dataset
from vmr.errors import DatasetError


@pytest.fixture
def check(tmp_path):
    """Checks four lines of training and one of test; the test video is named."""

    def run(*, tested="c", spoil=None, there="abc", accept_wrong=False):
        lines = "".join(f"{video} {start} {start + 2}##it rains.\n" for video in "ab" for start in (1, 3))
        (tmp_path / "train.txt").write_text(lines)
        first, _, start = tested.partition(" ")
        (tmp_path / "test.txt").write_text(f"{first} {start or 2} 5##it snows.\n")
        (tmp_path / "durations.csv").write_text("id,length\na,10\nb,10\nc,10\n")
        files = {split: [tmp_path / f"{split}.txt"] for split in ("train", "test")}
        parsed(tmp_path, files, durations=[tmp_path / "durations.csv"])
        features = {video_id: np.random.default_rng(ord(video_id)).normal(size=(30, 6)) for video_id in there}
        if spoil:
            features[spoil][3] = np.nan
        write_features(tmp_path / "i3d.h5", {video_id: own.astype(np.float32) for video_id, own in features.items()})
        check_dataset(
            moments=tmp_path / "moments.csv",
            report=tmp_path / "report.json",
            vectors=tmp_path / "none.txt",
            features=tmp_path / "i3d.h5",
            manifests=[],
            train_split="train",
            test_splits=["test"],
            queries=QuerySettings(max_words=30),
            video=VideoSettings(fps=24),
            accept_wrong=accept_wrong,
            output=tmp_path / "checks.txt",
        )
        return (tmp_path / "checks.txt").read_text()

    return run


def test_a_sound_dataset_passes_and_the_table_stays(check):
    assert "ok       annotations: video in training and test" in check()
    assert "note     features (i3d): missing" in check(there="ac")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"tested": "a"}, r"annotations: video in training and test \(1, such as a\)"),
        ({"tested": "c 9"}, r"annotations: split without a usable sentence \(1, such as test\)"),
        ({"there": "c"}, r"features \(i3d\): missing \(2, such as a\)"),
        ({"spoil": "b"}, r"features \(i3d\): NaN or infinity \(1, such as b: 1 of 30 steps\)"),
    ],
)
def test_what_is_wrong_stops_unless_it_is_accepted(check, caplog, fault, words):
    with pytest.raises(DatasetError, match=rf"[12] checks found something wrong: {words}.*accept_wrong: true"):
        check(**fault)
    assert "wrong" in check(**fault, accept_wrong=True) and "what is wrong:" in caplog.text
