"""What reruns after a change: the table of docs/reruns.md, compared with what Snakemake plans.

Every row of the matrix is a dataset of its own. All are made alike and then each is changed in one setting, so that
two runs of Snakemake try them all. The files are empty: what is planned depends on their times and on Snakemake's own
records of parameters and code, which `--touch` writes as a real run does.
"""

import datetime
import os
import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import get_args

import pytest
import yaml
from workflow.conftest import run_snakemake

from vmr.config.datasets import DatasetSettings
from vmr.config.sections import Settings
from vmr.config.whole import Config
from vmr.storage.files import write_json
from vmr.storage.provenance import library_versions
from vmr.video_ids import shard_of

# One worker makes the folder that all of these tests look at.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("rerun")]

ROOT = Path(__file__).parents[2]
SHARDS, SHARDS_OF_ADDED = 1, 3
EXTRACTORS = ("i3d", "c3d")

# What a rule's rerun makes rerun, per kind of features where there is a job for each.
TABLE = {"make_table", "make_report"}


def each(*rules):
    return {f"{rule} {extractor}" for rule in rules for extractor in EXTRACTORS}


CASES = each("study_cases") | {"make_report"}
EVALUATE = each("evaluate") | CASES | TABLE
TRAIN = each("train") | EVALUATE
BASELINES = {"compute_baselines"} | TABLE
WORDS = {"check_annotations"} | TABLE
EMBED = {"embed_queries"} | TRAIN
OF_FEATURES = ("merge_features", "check_features", "train", "evaluate", "study_cases")
MERGE = {name: {f"{rule} {name}" for rule in OF_FEATURES} | TABLE for name in EXTRACTORS}
EXTRACT = {name: {f"extract {name}"} | MERGE[name] for name in EXTRACTORS}
DECODE = {"decode_frames"} | EXTRACT["i3d"] | EXTRACT["c3d"]
PROBE = {"probe_videos"} | BASELINES | DECODE
PARSE = {"parse_annotations"} | WORDS | EMBED | PROBE
NOTHING: set[str] = set()

# Setting (as in config.yaml, below a dataset's `overrides`): another value, and what must rerun.
SETTINGS = {
    "video.fps": (12.0, DECODE),
    "video.frame_choice": ("shown", DECODE),
    "video.short_side": (224, DECODE),
    "video.probe_timeout_sec": (61.0, PROBE),
    "video.decode_timeout_sec": (121.0, DECODE),
    "video.max_failed_share": (0.4, DECODE),
    **{
        f"features.{name}.{key}": (value, EXTRACT[name])
        for name in EXTRACTORS
        for key, value in {
            "weights": "other.safetensors", "window": 32, "stride": 4, "padding": "valid",
            "dtype": "float32", "device": "cpu", "batch_size": 2, "max_failed_share": 0.4,
        }.items()
    },
    "features.i3d.mode": ("continuous", EXTRACT["i3d"]),
    "features.i3d.crop": (112, EXTRACT["i3d"]),
    "features.c3d.mean": ("mean.npy", EXTRACT["c3d"]),
    "features.c3d.pca_components": (400, MERGE["c3d"]),
    "features.c3d.pca": ("pca.npz", MERGE["c3d"]),
    "queries.vectors": ("other.txt", EMBED | WORDS),
    "queries.max_words": (20, EMBED | WORDS),
    **{
        f"model.{key}": (value, TRAIN)
        for key, value in {
            "hidden": 64, "query_hidden": 32, "heads": 2, "dropout": 0.3, "lstm_dropout": 0.3,
            "max_steps": 64,
        }.items()
    },
    **{
        f"methods.ci_mha.{key}": (value, TRAIN)
        for key, value in {"alignment": "pad", "segmentation_weight": 2.0, "learning_rate": 0.02}.items()
    },
    "methods.mha.alignment": ("pad", NOTHING),
    "methods.lgi.phrases": (5, NOTHING),
    **{
        f"training.{key}": (value, TRAIN)
        for key, value in {
            "learning_rate": 0.01, "batch_size": 7, "epochs": 9, "patience": 3,
            "gradient_clip": 0.5, "selection": "test", "validation_fraction": 0.2, "precision": "float32",
            "device": "cpu",
        }.items()
    },
    # Those of other methods and seeds stay as they are.
    "training.methods": (["ci_mha", "mha"], each("train mha", "evaluate mha") | CASES | TABLE),
    "training.seeds": ([0, 1], each("train seed 1", "evaluate seed 1") | TABLE),
    "training.threads": (2, NOTHING),
    "evaluation.top": (6, EVALUATE),
    "evaluation.nms_threshold": (0.4, EVALUATE),
    "evaluation.batch_size": (50, EVALUATE),
    "evaluation.precision": ("bfloat16", EVALUATE),
    "report.cases": (1, CASES),
    "report.random_cases": (2, CASES),
    "report.thumbnails": (4, CASES),
    "report.seed": (5, CASES),
}  # fmt: skip
# The same for what stands in the dataset's own section.
SECTION = {
    "title": ("Another title", TABLE),
    "annotation_format": ("activitynet_captions", PARSE),
    "annotations": ({"train": ["data/train.txt"], "test": ["data/other.txt"]}, PARSE),
    "durations": (["data/other.csv"], PARSE),
    "videos": ("other_videos", PROBE),
    "test_splits": (
        {"test": ["test", "train"]},
        {"compute_baselines"} | EVALUATE | WORDS | each("check_features"),
    ),
    "train_split": ("test", MERGE["c3d"] | MERGE["i3d"] | BASELINES | WORDS),
    "extractors": (["i3d"], TABLE),
    "shards": (2, PROBE),
    "published": ("published.csv", TABLE),
    "expected_counts": ({"train": {"lines": 2}}, PARSE),
    "known_size": ({"videos": 2, "hours": 0.1}, NOTHING),
    "accept_wrong": (True, PARSE),
}
# These name where a dataset comes from: each has tests of its own in test_graph.py and test_import.py.
OF_OTHER_DATASETS = {
    "videos_of",
    "further",
    "fetch",
    "fetch_videos",
    "render",
    "simulate",
    "overrides",
    "features.import_",
}
SAME_IN_ALL = {"features.i3d_r50", "features.slow_r50"}  # run by the code and options of i3d


def is_section(kind):
    return isinstance(kind, type) and hasattr(kind, "model_fields")


def leaves(model, prefix=""):
    """Every setting of a section, as `training.seeds`."""
    for name, entry in model.model_fields.items():
        section = next((kind for kind in (entry.annotation, *get_args(entry.annotation)) if is_section(kind)), None)
        if section is not None:
            yield from leaves(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_setting_has_its_row():
    known = {name for name in leaves(Settings)} | set(leaves(DatasetSettings))
    skipped = OF_OTHER_DATASETS | SAME_IN_ALL
    known = {name for name in known if not any(name == each or name.startswith(f"{each}.") for each in skipped)}
    # i3d and c3d have the same section; what has a meaning for one of them only is tried there.
    only = {
        "features.i3d.mean",
        "features.i3d.pca",
        "features.i3d.pca_components",
        "features.c3d.mode",
        "features.c3d.crop",
    }
    # Of methods that are not trained two rows stand for all.
    rows = set(SETTINGS) | set(SECTION)
    known = {
        name for name in known if not name.startswith("methods.") or name.split(".")[1] == "ci_mha" or name in rows
    }
    assert known - only == rows
    assert "datasets" in Config.model_fields


def name_of(setting):
    return "d_" + re.sub("[./]", "_", setting)


# What these do is the same for each kind of features: they are tried with one.
OF_EACH_KIND = ("model.", "methods.", "training.", "evaluation.", "report.")
ROWS = {
    setting: (value, {name for name in rules if not (setting.startswith(OF_EACH_KIND) and name.endswith(" c3d"))})
    for setting, (value, rules) in {**SETTINGS, **SECTION}.items()
}
WITH_ONE_KIND = {name_of(setting) for setting in ROWS if setting.startswith(OF_EACH_KIND)}
# Settings that name files, and a file of its own for each: another content does what the name of another file does.
FILES = {
    setting: f"own/{setting}.txt"
    for setting, (value, _) in ROWS.items()
    if setting in ("annotations", "durations") or (isinstance(value, str) and Path(value).suffix)
}
# Rows that change files instead of a setting: a video more, the same with a sentence, frames less.
OF_VIDEOS = ("added_video", "new_sentence")
DATASETS = ["base", *OF_VIDEOS, "deleted_frames", *map(name_of, ROWS), *map(name_of, FILES.values())]


def section(name):
    return {
        "title": name,
        "annotation_format": "charades_sta",
        "annotations": {"train": ["own/sentences.txt" if name == "new_sentence" else "data/train.txt"],
                        "test": ["data/test.txt"]},
        "durations": ["data/lengths.csv"],
        "videos": f"videos_{name}" if name in OF_VIDEOS else "videos",
        "test_splits": {"test": ["test"]},
        "extractors": ["i3d"] if name in WITH_ONE_KIND else list(EXTRACTORS),
        "shards": SHARDS_OF_ADDED if name in OF_VIDEOS else SHARDS,
    }  # fmt: skip


def change(section, setting, value):
    *parents, key = (["overrides"] if setting in SETTINGS else []) + setting.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
    section[key] = value


def configuration(names, *, changed):
    """The shipped settings in small, and a dataset a row; with `changed`, each in its setting."""
    datasets = {name: section(name) for name in names}
    for setting, (value, _) in (ROWS if changed else {}).items():
        change(datasets[name_of(setting)], setting, value)
    lists = {"annotations": lambda file: {"train": [file], "test": ["data/test.txt"]}, "durations": lambda file: [file]}
    for setting, file in FILES.items():
        if name_of(file) in datasets:
            change(datasets[name_of(file)], setting, lists.get(setting, str)(file))
    extractor = {"weights": "weights.safetensors"}
    return {
        "datasets": datasets,
        "features": {"i3d": {**extractor, "window": 64, "stride": 8},
                     "c3d": {**extractor, "window": 16, "stride": 16, "pca_components": 500}},
        "queries": {"vectors": "vectors.txt"},
        "training": {"methods": ["ci_mha"], "seeds": [0]},
    }  # fmt: skip


def plan(folder, *arguments, changed=False, checkout=ROOT, tables=DATASETS, results=("table.csv", "report.html")):
    """Run Snakemake for the tables and reports of datasets; what it prints."""
    config = folder / f"config_{len(tables)}_{checkout.name}.yaml"
    config.write_text(yaml.safe_dump(configuration(tables, changed=changed)))
    result = run_snakemake(
        *("--directory", folder, "--configfile", config, "--cores", "8", "--nolock", *arguments, "--"),
        *(f"results/{name}_{what}" for name in tables for what in results),
        checkout=checkout,
        folder=folder,
        VMR_SNAKEMAKE_WORDS="1",
        PYTHONPATH=str(checkout),
        BASH_ENV=str(folder / "stages.sh"),
    )
    if result.returncode:
        pytest.fail(f"snakemake failed:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
    return result.stdout + result.stderr


def jobs(text):
    """The planned jobs of each dataset, `rule` or `rule extractor`, and the blocks that describe them."""
    found = defaultdict(lambda: defaultdict(list))
    for block in re.split(r"\n(?=rule |localrule )", text)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)[1]
        dataset = re.search(r"wildcards: .*dataset=(\w+)", block)
        extractor = re.search(r"extractor=(\w+)", block)
        if dataset:
            found[dataset[1]][f"{rule} {extractor[1]}" if extractor else rule].append(block)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory, stages):
    """A folder in which the tables of all datasets are there and up to date."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "data").mkdir()
    (folder / "own").mkdir()
    for name in ("data/train.txt", "data/test.txt", "data/other.txt", "own/sentences.txt", *FILES.values()):
        (folder / name).write_text("a 0.0 1.0##a person sits.\n")
    files = ["data/lengths.csv", "data/other.csv", "weights.safetensors", "other.safetensors", "vectors.txt"]
    for name in (*files, "other.txt", "mean.npy", "pca.npz", "published.csv"):
        (folder / name).touch()
    for name in ("videos", "other_videos", *(f"videos_{name}" for name in OF_VIDEOS)):
        (folder / name).mkdir()
        for video in ("a", "b"):
            (folder / name / f"{video}.mp4").write_text(name)
    shutil.copy(stages, folder / "stages.sh")
    plan(folder)
    return folder


def test_one_worker_has_all_of_these_tests(request):
    """Versions of pytest and pytest-xdist that do not go together lose groups without a word."""
    if not request.config.getoption("loadgroup", False):
        pytest.skip("tests are not distributed by groups")
    assert request.node.nodeid.endswith("@rerun")


def test_nothing_reruns_without_a_change(finished):
    assert not jobs(plan(finished, "--dry-run"))


@pytest.fixture(scope="module")
def after_changes(finished, tmp_path_factory):
    """What is planned for each dataset once each is changed in its own way."""
    folder = tmp_path_factory.mktemp("changed") / "work"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    for name in OF_VIDEOS:
        (folder / f"videos_{name}" / "new.mp4").write_text("new")
        (folder / f"videos_{name}" / "notes.txt").write_text("no video")
    for name in ("own/sentences.txt", *FILES.values()):
        (folder / name).write_text("a 0.0 1.0##a person sits.\nnew 0.0 2.0##a person sits down.\n")
    for name in ("deleted_frames", name_of("report.cases")):
        for file in (folder / "work" / name / "frames").glob("*.h5"):
            file.unlink()
    return jobs(plan(folder, "--dry-run", changed=True))


def rules_of(planned):
    """Names of what is planned; further methods and seeds by name, as the matrix has them."""
    found = set()
    for name, blocks in planned.items():
        for block in blocks:
            method, seed = re.search(r"method=(\w+)", block), re.search(r"seed=(\d+)", block)
            if method and method[1] != "ci_mha":
                found.add(name.replace(name.split()[-1], f"{method[1]}"))
            elif seed and seed[1] != "0":
                found.add(f"{name.split()[0]} seed {seed[1]}")
            else:
                found.add(name)
    return found


@pytest.mark.parametrize("setting", ROWS)
def test_a_changed_setting_reruns_its_stages_and_those_after_them(after_changes, setting):
    expected = ROWS[setting][1]
    if setting in ("training.methods", "training.seeds"):  # jobs of a further run, for each kind of features
        expected = {re.sub(r"(mha|seed 1) (i3d|c3d)$", r"\1", name) for name in expected}
    assert rules_of(after_changes[name_of(setting)]) == expected


def test_an_added_video_runs_its_shard_only(after_changes):
    shard = shard_of("new", SHARDS_OF_ADDED)
    planned = after_changes["added_video"]
    for rule in ("probe_videos", "decode_frames", *(f"extract {name}" for name in EXTRACTORS)):
        assert [re.search(r"shard=(\d+)", block)[1] for block in planned[rule]] == [str(shard)], rule
    assert rules_of(planned) == PROBE


def test_a_sentence_of_a_new_video_runs_all_shards_since_any_may_have_sentences_of_it(after_changes):
    planned = after_changes["new_sentence"]
    for rule in ("probe_videos", "decode_frames", *(f"extract {name}" for name in EXTRACTORS)):
        assert len(planned[rule]) == SHARDS_OF_ADDED, rule
    assert rules_of(planned) == PARSE


@pytest.mark.parametrize("setting", FILES)
def test_another_content_of_a_named_file_reruns_what_another_file_would(after_changes, setting):
    assert rules_of(after_changes[name_of(FILES[setting])]) == ROWS[setting][1]


def test_deleted_frames_rerun_nothing_and_are_not_decoded_again_for_pictures(after_changes):
    assert not after_changes["base"] and not after_changes["deleted_frames"]
    assert rules_of(after_changes[name_of("report.cases")]) == ROWS["report.cases"][1]


def test_costs_are_gathered_again_after_the_report(finished, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    (folder / "results" / "base_report.html").unlink()
    costs = {"tables": ["base"], "results": ["costs.csv"]}
    assert set(jobs(plan(folder, **costs))["base"]) == {"gather_costs"}  # and no report is made for them
    plan(folder, tables=["base"])
    assert set(jobs(plan(folder, **costs))["base"]) == {"gather_costs"}
    assert not jobs(plan(folder, "--dry-run", **costs))


# A file of the package: text in it and what it becomes, and what must rerun for every dataset.
CODE = {
    "a comment and a docstring": (
        "vmr/evaluation/metrics.py", '"""', '"""# changed\n', NOTHING,
    ),
    "the text of an error": ("vmr/training/loop.py", "or its gradient is not a number", "is NaN", NOTHING),
    "the text of a log message": ("vmr/training/loop.py", "going on after epoch", "resuming after epoch", NOTHING),
    "metrics": ("vmr/evaluation/metrics.py", "\nimport", "\nCHANGED = 1\nimport", EVALUATE | BASELINES),
    "the loop": ("vmr/training/loop.py", "_STEPS_BETWEEN_CHECKS = 8", "_STEPS_BETWEEN_CHECKS = 9", TRAIN),
    "the network": ("vmr/model/heads.py", "\nfrom", "\nCHANGED = 1\nfrom", TRAIN),
    "i3d": ("vmr/features/i3d.py", "\nimport", "\nCHANGED = 1\nimport", EXTRACT["i3d"]),
    "c3d": ("vmr/features/c3d.py", "\nimport", "\nCHANGED = 1\nimport", EXTRACT["c3d"]),
    "the PCA": ("vmr/features/pca.py", "\nimport", "\nCHANGED = 1\nimport", MERGE["i3d"] | MERGE["c3d"]),
    "words": ("vmr/queries/tokenize.py", "\nfrom", "\nCHANGED = 1\nfrom", EMBED | WORDS | each("check_features")),
    "the clock of frames": ("vmr/video/timeline.py", "\nimport", "\nCHANGED = 1\nimport", PROBE),
    "decoding": ("vmr/video/decord_server.py", "\nimport", "\nCHANGED = 1\nimport", DECODE),
    "sentences and spans": ("vmr/annotations/parse.py", "\nimport", "\nCHANGED = 1\nimport", PARSE),
    "another method's network": ("vmr/methods/lgi.py", "\nimport", "\nCHANGED = 1\nimport", NOTHING),
    "its own network": ("vmr/methods/ci_mha.py", "\nfrom", "\nCHANGED = 1\nfrom", TRAIN),
    "another method": ("vmr/methods/catalogue.py", 'title="LGI (ours)"', 'title="LGI"', TABLE),
    "the help of an option": ("vmr/cli/groups.py", "Table of moments (moments.csv).", "What was said when.", NOTHING),
    "film strips": ("vmr/report/strips.py", "\nimport", "\nCHANGED = 1\nimport", CASES),
    "the page": ("vmr/report/page.py", "\nimport", "\nCHANGED = 1\nimport", {"make_report"}),
    "the table": ("vmr/tables/make.py", "\nimport", "\nCHANGED = 1\nimport", TABLE),
}  # fmt: skip


@pytest.fixture(scope="module")
def after_edits(finished, tmp_path_factory):
    """What is planned for `base` after each edit of the package, in a copy of the checkout."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("vmr", "workflow"):
        shutil.copytree(ROOT / name, checkout / name)
    shutil.copy(ROOT / "Snakefile", checkout)
    planned = {}
    for edit, (path, old, new, _) in CODE.items():
        text = (ROOT / path).read_text()
        assert old in text
        (checkout / path).write_text(text.replace(old, new, 1))
        planned[edit] = jobs(plan(finished, "--dry-run", checkout=checkout, tables=["base"]))["base"]
        shutil.copy2(ROOT / path, checkout / path)
    return planned


def matrix(after_changes, after_edits):
    """What was changed, and what Snakemake plans, in the order of the pipeline."""
    order = ["parse_annotations", "compute_baselines", "embed_queries", "probe_videos", "decode_frames"]
    order += [
        "extract",
        "merge_features",
        "check_annotations",
        "check_features",
        "train",
        "evaluate",
        "make_table",
        "study_cases",
    ]

    def row(changed, to, planned):
        names = sorted(rules_of(planned), key=lambda name: ([*order, "make_report"].index(name.split()[0]), name))
        return {"changed": changed, "to": to, "runs_again": ", ".join(names) or "nothing"}

    rows = [row(name, repr(value), after_changes[name_of(name)]) for name, (value, _) in ROWS.items()]
    rows += [row(setting, "another content", after_changes[name_of(file)]) for setting, file in FILES.items()]
    rows.append(row(f"the videos, in {SHARDS_OF_ADDED} shards", "one more", after_changes["added_video"]))
    rows.append(row("the videos and the annotations", "one more", after_changes["new_sentence"]))
    rows.append(row("the frame stores", "deleted", after_changes["deleted_frames"]))
    return rows + [row(path, edit, after_edits[edit]) for edit, (path, *_) in CODE.items()]


@pytest.mark.skipif("VMR_RERUN_MATRIX" not in os.environ, reason="writes benchmarks/results: `make bench-reruns`")
def test_write_the_matrix(after_changes, after_edits):
    result = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": library_versions(["snakemake"]),
        "matrix": matrix(after_changes, after_edits),
    }
    write_json(os.environ["VMR_RERUN_MATRIX"], result)


@pytest.mark.parametrize("edit", CODE)
def test_an_edit_reruns_the_stages_that_run_the_code(after_edits, edit):
    assert rules_of(after_edits[edit]) == CODE[edit][3]
