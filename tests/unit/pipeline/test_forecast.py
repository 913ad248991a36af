"""What a run will take, by hand."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from vmr.config import load_config
from vmr.machine.precision import has_native_bfloat16
from vmr.pipeline import estimate
from vmr.pipeline.corpus import Corpus, corpus_of
from vmr.pipeline.estimate import Estimate, Stage, disk_gb
from vmr.pipeline.forecast import forecast
from vmr.pipeline.plan import Plan
from vmr.pipeline.runlog import Job

ROOT = Path(__file__).parents[3]
CHARADES = Corpus(6672, 56.7, 12404, 3720)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The plan of the shipped configuration in an empty folder, whatever processor this is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vmr.pipeline.forecast.multiplies_bfloat16", lambda: True)
    return Plan(load_config(yaml.safe_load((ROOT / "config.yaml").read_text())), base=ROOT)


def job(rule, dataset="charades", **wildcards):
    return Job(rule, wildcards={"dataset": dataset, "extractor": "i3d", **wildcards}, reason="Missing output files: x")


def extractions(number=32):
    return [job("extract", shard=str(shard)) for shard in range(number)]


def annotated(folder, train, *, videos=(), lengths=("A,10\nB,20\n", "C,30\n")):
    """The files that `charades` names, below a folder."""
    own = folder / "data" / "charades"
    (own / "videos").mkdir(parents=True)
    for name in videos:
        (own / "videos" / f"{name}.mp4").write_bytes(b"x" * 1000)
    (own / "charades_sta_train.txt").write_text(train)
    (own / "charades_sta_test.txt").write_text("C 0.5 2.5##a person opens a door.\n")
    for split, lines in zip(("train", "test"), lengths, strict=True):
        (own / f"Charades_v1_{split}.csv").write_text(f"id,length\n{lines}")


def test_extraction_takes_the_hours_of_video_times_those_of_the_cores(plan):
    stage = Estimate(plan, {"charades": CHARADES}, cards=0).stages(extractions())["extract"]
    # 56.7 h of video, of which one takes 166 + 7,583 s of a core; and six seconds to start each of 32 jobs.
    assert stage.core_sec == pytest.approx(56.7 * 7749 + 32 * 6) and stage.jobs == 32
    assert stage.hours(cores=2, cards=0) == pytest.approx(stage.core_sec / 2 / 3600)
    # With a card the cores only read, at the same time: 56.7 h of 10,800 steps, 315 a second.
    stage = Estimate(plan, {"charades": CHARADES}, cards=1).stages(extractions())["extract"]
    assert stage.hours(cores=16, cards=1) == pytest.approx(56.7 * 10_800 / 315 / 3600)
    assert stage.hours(cores=1, cards=1) == pytest.approx((56.7 * 166 + 32 * 6) / 3600)


def test_a_processor_without_bfloat16_takes_longer_for_wide_networks(plan, monkeypatch):
    fast, slow = (Estimate(plan, {"charades": CHARADES}, cards=0, bfloat16=known) for known in (True, False))
    assert slow.stages(extractions())["extract"].core_sec == pytest.approx(56.7 * (166 + 2.02 * 7583) + 32 * 6)
    training, testing = (
        job("train", method="ci_mha", seed="0"),
        job("evaluate", method="ci_mha", seed="0", split="test"),
    )
    assert slow.job(training)[0] - 6 == pytest.approx(1.78 * (fast.job(training)[0] - 6))
    assert slow.job(testing) == fast.job(testing)  # measured in float32
    assert "float32" in forecast_on(plan, monkeypatch, bfloat16=False)
    assert "float32" not in forecast_on(plan, monkeypatch, bfloat16=True)


def forecast_on(plan, monkeypatch, *, bfloat16):
    monkeypatch.setattr("vmr.pipeline.forecast.multiplies_bfloat16", lambda: bfloat16)
    return forecast(plan, extractions(), cores=2, cards=0)


def test_the_processor_is_what_torch_says_of_it():
    assert estimate.multiplies_bfloat16() is has_native_bfloat16(torch.device("cpu"))


def test_half_the_edge_is_a_quarter_of_the_network(plan):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["features"]["i3d"]["crop"] = 112
    own = Estimate(Plan(load_config(config), base=ROOT), {"charades": CHARADES}, cards=0)
    assert own.job(job("extract", shard="0"))[0] == pytest.approx(6 + 56.7 / 32 * (166 + 7583 / 4))


def test_c3d_was_measured_on_cores_only(plan):
    corpora, jobs = {"activitynet": Corpus(14_926, 488.0, 37_421, 17_505)}, [job("extract", "activitynet", shard="0")]
    jobs[0].wildcards["extractor"] = "c3d"
    own = Estimate(plan, corpora, cards=0)
    assert own.job(jobs[0])[0] == pytest.approx(6 + 488 / 64 * 1993) and own.unmeasured(jobs) == []
    assert Estimate(plan, corpora, cards=1).unmeasured(jobs) == ["c3d"]


def test_the_demo_has_faster_features_and_a_smaller_network(plan):
    demo = Corpus(104, 0.26, 720, 216)
    own = Estimate(plan, {"demo": demo}, cards=0)
    core, card = own.job(job("extract", "demo", shard="0"))
    # 52 videos of a shard, of which each costs 32 frames more at its ends; a square of half the edge.
    passed = 0.13 + 52 * 32 / 86_400
    assert (core, card) == (pytest.approx(6 + 0.13 * 166 + passed * 2016 / 4), 0.0)
    core, _ = own.job(job("train", "demo", method="ci_mha", seed="0"))
    # 20 epochs, too few for patience to end them; nine tenths of the sentences, 27 steps of 92, a quarter of the width.
    assert core == pytest.approx(6 + 0.0418 * 20 * 648 * 27 / 92 * 0.25**1.27, rel=0.01)


def test_no_more_cores_than_jobs_can_use():
    stage = Stage(2, 7200.0, 0.0, width=2)
    assert stage.hours(cores=16, cards=0) == stage.hours(cores=2, cards=0) == 1.0


def test_earlier_jobs_of_the_dataset_count_more_than_the_model_and_those_of_others_say_how_fast_the_machine_is(plan):
    costs = {
        "demo": pd.DataFrame({"rule": ["extract"], "jobs": [2], "seconds": [200.0], "cpu_seconds": [300.0]}),
    }
    corpora = {"charades": CHARADES, "demo": Corpus(52, 0.13, 360, 108)}
    own = Estimate(plan, corpora, cards=0, costs=costs)
    assert own.job(job("extract", "demo", shard="0"))[0] == 150.0
    slower = 150 / (6 + 0.065 * 166 + (0.065 + 26 * 32 / 86_400) * 2016 / 4)
    assert own.job(job("extract", shard="0"))[0] == pytest.approx(slower * (6 + 56.7 / 32 * 7749))
    assert own.from_earlier(["extract", "train"]) == ["demo"] and own.from_earlier(["train"]) == []


def test_disk_is_what_the_planned_jobs_write(plan):
    jobs = [*(job("decode_frames", shard=str(shard)) for shard in range(16)), *extractions(16)]
    sizes = disk_gb(plan, {"charades": CHARADES}, jobs)
    assert sizes["frames"] == pytest.approx((28.35 * 0.170, 28.35 * 0.872))
    assert sizes["features"][0] == pytest.approx(28.35 * 10_800 * 1024 * 4 / 1e9)


def test_features_made_elsewhere_cost_what_their_file_holds(plan, tmp_path):
    own, jobs = (
        Estimate(plan, {}, cards=0),
        [job("import_features", "charades_sim"), job("check_features", "charades_sim")],
    )
    assert [own.job(one)[0] for one in jobs] == [4.0, 4.0] and disk_gb(plan, {}, jobs) == {}
    file = tmp_path / "work" / "charades_sim" / "simulated" / "features.h5"
    file.parent.mkdir(parents=True)
    with file.open("wb") as sparse:
        sparse.truncate(2_000_000_000)
    assert [own.job(one)[0] for one in jobs] == pytest.approx([4 + 10.2, 4 + 4.2])
    assert disk_gb(plan, {}, jobs) == {"features": (2.0, 2.0)}


def test_the_size_is_known_before_the_annotations_are_there(plan):
    assert corpus_of(plan, "charades") == Corpus(
        6672, 57.0, 12408, 3720, there=0, assumed="counts by config.yaml, since the annotations are not there yet"
    )
    assert corpus_of(plan, "demo").trained == 720
    assert corpus_of(plan, "charades_sim_small").videos == 1600
    assert corpus_of(plan, "charades_cd") is None  # its files have no address


def test_the_size_is_that_of_the_annotations_and_the_files(plan, tmp_path):
    annotated(tmp_path, "A 0 2##a person sits.\nA 1 2##it runs.\nB 1.0 3.0##a dog runs.\n", videos=["B"])
    assert corpus_of(plan, "charades") == Corpus(3, 60 / 3600, 3, 1, there=1, gigabytes=1e-6, trained_there=1)
    table = tmp_path / "work" / "charades" / "annotations" / "moments.csv"
    table.parent.mkdir(parents=True)
    row = "0,A,train,0.0,2.0,10.0,a person sits.\n"
    table.write_text(f"query_id,video_id,split,start_sec,end_sec,duration_sec,sentence\n{row}")
    assert corpus_of(plan, "charades").videos == 1
    os.utime(table, (1, 1))  # the annotations have changed since
    assert corpus_of(plan, "charades").videos == 3


def test_durations_that_nothing_tells_are_those_of_some_of_the_videos(plan, tmp_path, monkeypatch):
    annotated(tmp_path, "A 0 2##a person sits.\nB 1.0 3.0##a dog runs.\n", videos=["A"], lengths=("", ""))
    monkeypatch.setattr("vmr.video.probe.shutil.which", lambda name: name)
    monkeypatch.setattr("vmr.video.probe.probe_video", lambda path, timeout_sec: {"status": "ok", "duration_sec": 40.0})
    own = corpus_of(plan, "charades")
    assert (own.hours, own.assumed) == (pytest.approx(120 / 3600), "durations by 1 of the videos")


def test_what_a_run_will_do_is_told_by_stage(plan):
    train = [job("train", method="mha", seed=str(seed)) for seed in range(2)]
    train[1].reason = "Params have changed since last execution: a"
    text = forecast(plan, [*extractions(), *train], cores=2, cards=0)
    lines = text.splitlines()
    assert lines[0] == "34 jobs"
    assert lines[1].split() == ["extract", "32", "not", "there", "yet", "61", "h"]
    assert "1 not there yet, 1 settings or code changed" in lines[2]
    assert lines[3].split()[:6] == ["together", "34", "on", "2", "cores,", "no"]
    assert "NO RESULT can come of this" in text and "0 of 6,672 videos are in data/charades/videos" in text
    assert lines[-1] == "a small try first: vmr plan charades --try 80"
    assert forecast(plan, [], cores=2, cards=0) == "Nothing to be done: all of it is there."


@pytest.mark.parametrize(
    ("files", "sentences", "word"),
    [
        (("C",), 60, "no training video is there. Put the videos into data/charades/videos"),
        (("A", "B"), 99, "99 sentences to train on are too few to learn from"),
        (("A",), 180, "90 sentences to train on are too few to learn from"),
        (("A", "B"), 120, None),
        (("A", "B"), -120, "all 120 training moments begin after their video ends"),
    ],
)
def test_what_cannot_give_a_result_is_told_before(plan, tmp_path, files, sentences, word):
    start = 0 if sentences > 0 else 500  # milliseconds
    lines = (f"{'AB'[number % 2]} {start} {start + 2}##person {number} sits.\n" for number in range(abs(sentences)))
    annotated(tmp_path, "".join(lines), videos=files)
    text = forecast(plan, [job("train", method="mha", seed="0")], cores=2, cards=0)
    assert ("NO RESULT" in text) == (word is not None) and (word or "") in text


def test_annotations_alone_need_no_videos(plan):
    jobs = [job("parse_annotations"), job("simulate", "charades_sim"), job("train", "charades_sim", method="mha")]
    text = forecast(plan, jobs, cores=2, cards=0)
    assert "NO RESULT" not in text and "data/charades/videos" not in text and "--try" not in text


def test_videos_that_are_fetched_for_another_dataset_are_told(plan):
    fetch = Job("fetch_videos_charades", wildcards={}, reason="Missing output files: x")
    text = forecast(plan, [fetch, job("extract", "demo", shard="0")], cores=2, cards=0)
    assert text.splitlines()[1].split() == [fetch.rule, "1", "not", "there", "yet", "by", "the", "network"]
    # 57 hours of 0.117 to 0.322 GB, twice.
    assert "disk: videos and their archive 13 to 37 GB" in text


def test_a_dataset_of_which_nothing_is_known_is_told(plan):
    assert "charades_cd: the annotations are not there yet" in forecast(
        plan, [job("train", "charades_cd", method="mha", seed="0")], cores=2, cards=0
    )
