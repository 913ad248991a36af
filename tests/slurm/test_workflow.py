"""The whole workflow through the profile for Slurm, without a fault."""

import re

import pandas as pd
import pytest

pytestmark = pytest.mark.timeout(1800)


def test_the_table_comes_out(undisturbed):
    table = pd.read_csv(undisturbed.folder / "results/demo_table.csv")
    computed = table[table["method"] == "CI-MHA"]
    assert len(computed) == 1
    assert computed[["R1@0.3", "R1@0.5", "R1@0.7", "mIoU"]].notna().all().all()


def test_each_job_ran_once_and_only_downloads_ran_on_the_head_node(undisturbed):
    comments = [job["comment"] for job in undisturbed.cluster.jobs(undisturbed.folder) if job["state"] == "COMPLETED"]
    rules = sorted(comment.removeprefix("rule_").split("_wildcards_")[0] for comment in comments)
    assert len([rule for rule in rules if "extract" in rule]) == 1
    assert not [rule for rule in rules if "prepare_asset" in rule]
    log = (undisturbed.folder / "logs/demo/extract/i3d_0.log").read_text()
    assert log.count("8 videos, 8 decoded, 0 of them finished before") == 1, "started more than once"


def test_extraction_and_training_ask_for_a_card_and_the_rest_does_not(undisturbed):
    asked = {}
    for job in undisturbed.cluster.jobs(undisturbed.folder):
        details = undisturbed.cluster.call("scontrol", "show", "job", job["id"])
        card = re.search(r"TRES?\w*=\S*gpu", details, re.IGNORECASE) is not None
        asked.setdefault(card, set()).add(job["comment"].split("_wildcards_")[0].removeprefix("rule_"))
    assert asked.get(True) == {"extract", "train"}, details


def test_logs_lie_where_the_documentation_says(undisturbed):
    for name in ("parse_annotations.log", "decode_frames/0.log", "extract/i3d_0.log", "train/i3d_ci_mha_0.log"):
        assert (undisturbed.folder / "logs/demo" / name).exists(), name
    assert (undisturbed.folder / "work/demo/benchmarks/extract/i3d_0.tsv").exists()
