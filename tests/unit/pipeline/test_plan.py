"""What is planned from the shipped configuration, without Snakemake."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from vmr.cli.training import own_settings
from vmr.config import load_config
from vmr.errors import ConfigError
from vmr.methods.catalogue import METHODS, method_settings
from vmr.pipeline.options import options
from vmr.pipeline.plan import Plan
from vmr.pipeline.table_plan import TablePlan
from vmr.pipeline.targets import unknown_target

ROOT = Path(__file__).parents[3]


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The plan of the shipped configuration, with other settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no nvidia-smi: what is planned must not depend on a card

    def planned(cores=None, **overrides):
        values = yaml.safe_load((ROOT / "config.yaml").read_text())
        for section, entries in overrides.items():
            for name, value in entries.items():
                own = values[section].get(name)
                values[section][name] = {**own, **value} if isinstance(own, dict) else value
        return Plan(load_config(values), base=ROOT, cores=lambda: cores)

    return planned


def job(**wildcards):
    return SimpleNamespace(
        **({"dataset": "charades", "extractor": "i3d", "method": "ci_mha", "split": "test"} | wildcards)
    )


def test_planning_imports_neither_torch_nor_pandas():
    code = "import sys, vmr.pipeline.table_plan, vmr.pipeline.failures; print({'torch', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize(
    # Two shards side by side, with half of the cores each; decoding has no use for more than four.
    ("cores", "decode", "extract"),
    [(1, 1, 1), (2, 1, 1), (6, 3, 3), (16, 4, 8), (None, 4, 16)],
)
def test_shards_share_the_cores_of_one_machine(plan, cores, decode, extract):
    demo, own = job(dataset="demo"), plan(cores, datasets={"demo": {"shards": 2}})
    assert (own.shard_threads(4, wildcards=demo), own.extract_threads(demo)) == (decode, extract)


def test_a_card_takes_eight_threads_that_decode_for_it(plan):
    own = plan(1, features={"i3d": {"device": "cuda"}})
    assert (own.extract_gpus(job()), own.extract_threads(job())) == (1, 8)


@pytest.mark.parametrize(("method", "rate"), [("excl", "0.001"), ("lgi", "0.0002")])
def test_a_method_may_have_a_learning_rate_of_its_own(plan, method, rate):
    own = plan(training={"learning_rate": 0.0002}, methods={"excl": {"learning_rate": 0.001}})
    words = own.train_options(job(method=method)).split()
    assert words[words.index("--learning-rate") + 1] == rate and words.count("--learning-rate") == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_methods_own_settings_reach_its_training(plan, method):
    own = plan()
    words = shlex.split(own.train_options(job(method=method)))
    entries = [value for option, value in itertools.pairwise(words) if option == "--set"]
    wanted = method_settings(method, own.settings["charades"].methods)
    assert len(entries) == len(type(wanted).model_fields) - 1  # its rate has an option of all methods
    assert own_settings(method, entries) == wanted.model_copy(update={"learning_rate": None})


def test_zero_is_a_value(plan):
    own = plan(model={"dropout": 0.0}, report={"random_cases": 0})
    assert "--dropout 0.0 " in own.train_options(job())
    assert "--random-cases 0 " in options(own.settings["charades"].report)


def test_splits_to_test_on_are_told_only_to_whom_selects_by_them(plan):
    assert "--test-splits" not in plan().train_options(job())
    assert plan(training={"selection": "test"}).train_options(job()).endswith("--test-splits test")


def test_a_merge_asks_for_a_device_only_where_it_reduces(plan):
    assert plan().merge_options(job()) == "--train-split train"
    own = plan(features={"c3d": {"pca_components": None, "pca": "my pca.npz"}})
    assert own.merge_options(job(extractor="c3d")) == "--train-split train --pca 'my pca.npz' --device auto"


def test_annotations_on_other_splits_use_the_videos_and_features_of_their_source(plan):
    own = plan()
    assert own.features(job(dataset="charades_cd")) == "work/charades/features/i3d.h5"
    manifests = own.manifest_files("charades_cd", "work/{dataset}/frames/shard_{shard}.csv")
    assert len(manifests) == 32 and manifests[31] == "work/charades/frames/shard_31.csv"


def test_a_named_file_that_is_gone_is_an_error_once_there_are_results(plan, tmp_path):
    own = plan(features={"i3d": {"weights": "mine/i3d.pt"}})
    files = [*own.datasets["charades"].annotation_files, *own.datasets["charades"].durations, "mine/i3d.pt"]
    for file in (*files, "results/charades_table.csv"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    table = TablePlan(own)
    table.refuse_absent(["results/charades_table.csv", "results/charades_report.html", "work/x.csv"])
    for file in set(files) - set(own.fetched):  # those come by themselves
        (tmp_path / file).unlink()
        with pytest.raises(ConfigError, match=rf"(charades|i3d)\.\w+: {re.escape(file)}. Put them back"):
            table.refuse_absent(["./results/charades_table.csv"])
        (tmp_path / file).touch()
    (tmp_path / "results/charades_table.csv").unlink()
    (tmp_path / "mine/i3d.pt").unlink()
    table.refuse_absent(["results/charades_table.csv"])  # Snakemake itself says what is missing


def test_costs_count_what_is_configured_once(plan):
    files = TablePlan(plan()).benchmarks(job())
    assert len(files) == len(set(files))
    assert {
        "work/charades/benchmarks/extract/i3d_{0..31}.tsv",
        "work/charades/benchmarks/train/i3d_ci_mha_4.tsv",
    } < set(files)
    assert "work/benchmarks/assets/i3d_kinetics400_rgb.safetensors.tsv" in files
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    for rule in re.findall(r'"work/{dataset}/benchmarks/(\w+)/', rules):
        assert any(f"/benchmarks/{rule}/" in file for file in files), rule


@pytest.mark.parametrize(
    ("target", "right"),
    [
        ("results/charade_table.csv", "results/charades_table.csv"),
        ("results/charades_tabel.csv", "results/charades_table.csv"),
        ("charades_table.csv", "results/charades_table.csv"),
        ("work/demo/features/i3d/shard1.h5", "work/demo/features/i3d/shard_1.h5"),
        ("al", "all"),
        ("x/y.z", None),
    ],
)
def test_the_nearest_right_target_is_named(plan, target, right):
    patterns = [
        "results/{dataset,demo|charades}_table.csv",
        r"work/{dataset}/features/{extractor}/shard_{shard,\d+}.h5",
    ]
    text = unknown_target(target, patterns, ["all"], plan())
    assert text.startswith(f"{target}: there is no such file")
    assert (f"; did you mean `{right}`?" in text) if right else ("NAME_table.csv" in text and "did you" not in text)
