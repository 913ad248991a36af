"""What Snakemake plans: the right jobs for each target, and clear errors for wrong configurations."""

import json
import re
from pathlib import Path

import pytest

from vmr.methods.catalogue import METHODS
from vmr.video.listing import write_listing

PROFILES = Path(__file__).parents[2] / "workflow" / "profiles"

# Once for a dataset; five methods with five seeds.
ONCE = ["parse_annotations", "merge_features", "check_annotations", "check_features", "embed_queries", "make_table"]
OF_BOTH = dict.fromkeys(ONCE, 1) | {"train": 25}
MINE = {"title": "Mine", "videos": "mine/videos", "test_splits": {"test": "test"}}


def test_charades_goes_from_videos_to_the_table(planned, charades_annotations):
    # 32 shards; the 3 methods of the paper and 2 blind ones x 5 seeds x 1 split
    assert planned("results/charades_table.csv") == OF_BOTH | {
        "probe_videos": 32,
        "decode_frames": 32,
        "prepare_asset": 3,
        "extract": 32,
        "evaluate": 25,
        "zero_shot": 1,
        "compute_baselines": 1,
    }


def test_shards_share_the_cores_of_one_machine(snakemake):
    output = snakemake("--dry-run", "--cores", "6", "--", "work/demo/features/i3d.h5").stdout
    found = re.findall(r"rule (decode_frames|extract):\n(?: .*\n)*? +threads: (\d+)", output)
    assert sorted(found) == [("decode_frames", "3")] * 2 + [("extract", "3")] * 2


def test_charades_videos_are_fetched_when_there_is_no_folder_of_them(planned, workdir, charades_annotations):
    (workdir / "data" / "charades" / "videos").rmdir()
    jobs = planned("results/charades_table.csv")
    assert jobs["fetch_videos_charades"] == 1 and jobs["probe_videos"] == 32


def test_videos_that_were_fetched_are_not_fetched_again_for_other_shards(
    snakemake, planned, workdir, charades_annotations, pretending
):
    folder = workdir / "data" / "charades" / "videos"
    folder.rmdir()
    snakemake("--", "data/charades/videos.listed")
    folder.mkdir()
    write_listing(folder, folder.with_name("videos.listed"))
    overrides = {"datasets": {"charades": {"shards": 3}}}
    jobs = planned("results/charades_table.csv", overrides=overrides)
    assert "fetch_videos_charades" not in jobs and jobs["probe_videos"] == 3
    # Neither for any other reason: the command would refuse the folder.
    text = snakemake("--dry-run", "--forceall", "results/charades_table.csv", overrides=overrides).stdout
    assert "probe_videos" in text and "fetch_videos_charades" not in text


def test_activitynet_fetches_what_is_missing_and_scores_three_splits(planned):
    # 64 shards; 5 methods x 5 seeds x (val_1, val_2, their union)
    assert planned("results/activitynet_table.csv") == OF_BOTH | {
        "fetch_annotations": 3,
        "probe_videos": 64,
        "decode_frames": 64,
        "prepare_asset": 2,
        "extract": 64,
        "evaluate": 75,
        "compute_baselines": 3,
    }


@pytest.fixture
def charades_cd_annotations(workdir, charades_annotations):
    """Charades-CD's files in their place: the same videos, differently divided."""
    folder = workdir / "data" / "charades_cd"
    folder.mkdir(parents=True)
    for split, video in (("train", "AAAAA"), ("test_iid", "BBBBB"), ("test_ood", "CCCCC")):
        entry = {"video_duration": 4.0, "timestamps": [[0.0, 2.0]], "sentences": ["person sits"]}
        (folder / f"charades_{split}.json").write_text(json.dumps({video: entry}))


def test_out_of_distribution_splits_follow_once_their_files_are_there(snakemake, charades_cd_annotations):
    text = snakemake("--dry-run", "--printshellcmds", "results/charades_table.csv").stdout
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}
    # The same videos and features; Charades-CD trains on its own split and has two more to score.
    assert jobs["decode_frames"] == jobs["extract"] == jobs["probe_videos"] == 32
    assert jobs["parse_annotations"] == jobs["embed_queries"] == 2
    assert (jobs["merge_features"], jobs["compute_baselines"]) == (1, 3)
    assert (jobs["train"], jobs["evaluate"]) == (2 * 25, 25 + 2 * 25)
    lines = [line for line in text.splitlines() if "work/charades_cd/annotations/moments.csv" in line]
    train = next(line for line in lines if "vmr train " in line)
    assert "--features work/charades/features/i3d.h5" in train
    assert "--train-split cd_train" in train
    # Short however many shards there are: Linux takes no argument beyond 128 KiB.
    assert train.count("--manifests ") == 1 and "--manifests 'work/charades/frames/shard_{0..31}.csv'" in train
    evaluate = next(line for line in lines if "vmr evaluate-run " in line)
    assert "--features work/charades/features/i3d.h5" in evaluate
    assert "--splits cd_test_" in evaluate
    table = next(line for line in text.splitlines() if "vmr make-table " in line)
    assert "--further charades_cd" in table
    assert table.count("--metrics ") == 3 * 25 + 3  # zero-shot, once a split


def test_the_report_follows_the_table_and_asks_each_split_for_cases(snakemake, charades_cd_annotations):
    text = snakemake("--dry-run", "--printshellcmds", "results/charades_report.html").stdout
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}
    # The test split of Charades and two of Charades-CD, with the pictures of the same videos.
    assert (jobs["make_report"], jobs["make_table"], jobs["study_cases"]) == (1, 1, 3)
    cases = [line for line in text.splitlines() if "vmr report cases " in line]
    assert all(line.count("--runs ") == 5 and line.count("seed_0") == 5 for line in cases)
    assert all("--frames 'work/charades/frames/shard_{0..31}.h5'" in line for line in cases)
    assert all("--cases 3 --random-cases 9 --thumbnails 8 --seed 0" in line for line in cases)
    page = next(line for line in text.splitlines() if "vmr report page " in line)
    assert (page.count("--metrics "), page.count("--cases "), page.count("--manifests ")) == (3 * 25 + 3, 3, 1)
    assert "--moments charades_cd=work/charades_cd/annotations/moments.csv" in page
    assert page.count("--coverage ") == 1
    assert all(f"--benchmarks 'work/{name}/benchmarks/*.tsv'" in page for name in ("charades", "charades_cd"))


def test_the_table_does_not_wait_for_the_report(planned, charades_annotations):
    jobs = planned("results/charades_table.csv")
    assert "study_cases" not in jobs and "make_report" not in jobs


def test_half_of_the_out_of_distribution_files_change_nothing(planned, charades_cd_annotations, workdir):
    (workdir / "data" / "charades_cd" / "charades_train.json").unlink()
    jobs = planned("results/charades_table.csv")
    assert (jobs["train"], jobs["evaluate"]) == (25, 25)


def test_a_dataset_of_ones_own_needs_a_section_and_nothing_else(planned, workdir):
    (workdir / "mine").mkdir()
    (workdir / "mine" / "train.json").write_text("{}")
    (workdir / "mine" / "test.json").write_text("{}")
    section = MINE | {
        "annotation_format": "activitynet_captions",
        "annotations": {"train": "mine/train.json", "test": "mine/test.json"},
        "extractors": ["i3d", "c3d"],
        "shards": 3,
        "overrides": {"training": {"seeds": [7], "methods": list(METHODS)}},
    }
    jobs = planned("results/mine_table.csv", overrides={"datasets": {"mine": section}})
    assert (jobs["extract"], jobs["decode_frames"]) == (2 * 3, 3)
    assert jobs["train"] == jobs["evaluate"] == 2 * len(METHODS)
    assert "fetch_annotations" not in jobs


def test_one_csv_serves_both_splits(snakemake, workdir):
    (workdir / "mine").mkdir()
    (workdir / "mine" / "my words.csv").write_text("video,start,end,sentence\na,1,2,One.\nb,1,2,Two.\n")
    annotations = {"learn": "mine/my words.csv", "test": "mine/my words.csv"}
    section = MINE | {"annotation_format": "csv", "annotations": annotations, "train_split": "learn"}
    target = "work/mine/annotations/moments.csv"
    snakemake("--cores", "1", "--", target, overrides={"datasets": {"mine": section}})
    lines = (workdir / target).read_text().splitlines()[1:]
    assert sorted(line.split(",")[2] for line in lines) == ["learn", "test"]


def test_one_stage_alone(planned, charades_annotations):
    assert planned("work/charades/videos/shard_3.csv") == {"parse_annotations": 1, "probe_videos": 1}


def test_weights_given_as_a_path_are_not_fetched(planned, charades_annotations, workdir):
    (workdir / "my_i3d.pt").write_bytes(b"")
    overrides = {"features": {"i3d": {"weights": str(workdir / "my_i3d.pt")}}}
    jobs = planned("work/charades/features/i3d.h5", overrides=overrides)
    assert "prepare_asset" not in jobs


def test_files_of_the_user_are_never_outputs(snakemake, charades_annotations):
    rules = snakemake("--list-rules", "--quiet").stdout.split()
    assert "parse_annotations" in rules
    listed = snakemake("--summary", "results/charades_table.csv").stdout
    assert not [line for line in listed.splitlines() if line.startswith("data/charades")]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trainig": {"epochs": 3}}, "trainig: there is no such setting; did you mean `training`?"),
        ({"datasets": {"charades": {"extractors": ["i4d"]}}}, "datasets.charades.extractors.0"),
        ({"datasets": {"charades": {"fetch": {"x.txt": "charades_sta_test"}}}}, "`x.txt` is fetched into data/"),
        ({"features": {"i3d": {"weights": "$(touch pwned)"}}}, "no asset for this is called `$(touch pwned)`"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(snakemake, overrides, message):
    result = snakemake("--dry-run", "results/charades_table.csv", overrides=overrides, check=False)
    text = result.stdout + result.stderr
    assert result.returncode != 0
    assert message in text
    assert "Traceback" not in text


def test_costs_are_gathered_once_the_table_is_there(snakemake, charades_cd_annotations):
    text = snakemake("--dry-run", "--printshellcmds", "results/charades_costs.csv").stdout
    line = next(line for line in text.splitlines() if "vmr report costs " in line)
    for name in ("charades", "charades_cd"):
        assert f"--benchmarks 'work/{name}/benchmarks/*.tsv' " in line
        # Of what is configured, whatever else lies there.
        shards, train = (f"work/{name}/benchmarks/{file}.tsv" for file in ("extract/i3d_{0..31}", "train/i3d_ci_mha_4"))
        assert f"--benchmarks '{shards}' " in line and f"--benchmarks {train} " in line
    assert "--benchmarks work/benchmarks/assets/i3d_kinetics400_rgb.safetensors.tsv " in line
    assert re.search(r"^make_table +1$", text, re.MULTILINE)


def test_a_plan_has_a_line_a_job(snakemake, charades_annotations):
    text = snakemake("--dry-run", "results/charades_table.csv", plain=True).stdout
    lines = text.splitlines()
    assert "train charades i3d ci_mha seed 0: not there yet (work/charades/runs/i3d/ci_mha/seed_0/" in text
    (total,) = (int(line.split()[1]) for line in lines if line.startswith("total "))
    assert total < len(lines) < total + 40


def test_a_run_says_first_what_it_will_do_and_then_a_line_a_job(snakemake, pretending, charades_annotations):
    target = "work/charades/annotations/checks.txt"
    lines = snakemake(target, plain=True).stderr.splitlines()
    first = lines.index("3 jobs")
    told = [line.split()[0] for line in lines[first + 1 : first + 5]]
    # Neither of the first two waits for the other, so either may come first.
    assert {*told[:2]} == {"parse_annotations", "prepare_asset"} and told[2:] == ["check_annotations", "together"]
    assert [line.split(": ")[0] for line in lines if line.startswith("[")][-1] == "[3 of 3] check_annotations charades"


def test_a_wrong_target_names_the_nearest_right_one(snakemake):
    run = snakemake("results/charade_table.csv", plain=True, check=False)
    assert run.returncode == 1
    assert "no rule makes it; did you mean `results/charades_table.csv`?" in run.stderr


def test_no_number_of_cores_need_be_named(snakemake, pretending, workdir, charades_annotations):
    target = "work/charades/annotations/moments.csv"
    snakemake("--workflow-profile", PROFILES / "default", "--", target, plain=True)  # without --cores
    assert (workdir / target).exists()


def test_a_result_whose_files_are_gone_is_refused(snakemake, workdir, charades_annotations):
    (workdir / "results").mkdir()
    (workdir / "results" / "mine_table.csv").touch()
    mine = MINE | {"annotation_format": "charades_sta", "annotations": {"train": "train.txt", "test": "train.txt"}}
    run = snakemake("results/mine_table.csv", overrides={"datasets": {"mine": mine}}, check=False, plain=True)
    assert run.returncode == 1
    assert "files that results were made from are not there: datasets.mine.annotations: train.txt" in run.stderr
