import math
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from vmr.config import load_config, read_config, schema_text
from vmr.errors import ConfigError
from vmr.methods.catalogue import METHODS, method_settings

ROOT = Path(__file__).parents[3]
CHARADES = ["datasets", "charades"]
OVERRIDES = [*CHARADES, "overrides", "features"]


@pytest.fixture
def values():
    return deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))


def test_the_shipped_configuration_is_right(values):
    config = load_config(values)
    known = {"charades", "charades_cd", "activitynet", "activitynet_cd", "demo", "charades_sim", "charades_sim_small"}
    assert known <= set(config.datasets)
    assert config.datasets["activitynet"].test_splits["val_1+val_2"] == ["val_1", "val_2"]
    # Section 3.2 of the paper
    assert config.training.batch_size == 100
    assert config.training.learning_rate == 1e-4
    assert config.queries.max_words == 25
    assert config.model.max_steps == 128
    assert 2 * config.model.query_hidden == 512


def test_overrides_hold_for_their_dataset_only(values):
    config = load_config(values)
    assert config.for_dataset("demo").model.hidden == 128
    assert config.for_dataset("demo").features["i3d"].mode == "continuous"
    assert config.for_dataset("demo").features["i3d"].window == 64
    assert config.for_dataset("charades").model.hidden == 512
    assert config.for_dataset("charades").features["i3d"].mode == "windows"


def test_a_dataset_of_other_videos_takes_their_settings(values):
    values["datasets"]["charades"] |= {"extractors": ["c3d"], "overrides": {"model": {"heads": 4, "hidden": 64}}}
    values["datasets"]["charades_cd"]["overrides"] = {"model": {"heads": 2}}
    config = load_config(values)
    borrower = config.datasets["charades_cd"]
    assert (borrower.extractors, borrower.shards, borrower.videos) == (["c3d"], 32, "data/charades/videos")
    assert config.for_dataset("charades_cd").model.hidden == 64
    assert config.for_dataset("charades_cd").model.heads == 2
    assert config.for_dataset("charades").model.heads == 4


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["trainig"], {}, r"trainig: there is no such setting; did you mean `training`"),
        (["model", "hiden"], 3, r"model\.hiden: there is no such setting; did you mean `hidden`"),
        (["datasets", "demo", "shard"], 3, r"datasets\.demo\.shard: .*did you mean `shards`"),
        (["datasets", "demo", "overrides", "model"], {"hedden": 1}, r"demo\.overrides.*(?s:.)*hedden.*`hidden`"),
        (["datasets", "charades", "test_splits"], {"test": "tests"}, r"no annotations for the split `tests`"),
        (["datasets", "charades", "extractors"], ["i4d"], r"extractors\.0"),
        (["training", "learning_rates"], {"excel": 0.1}, r"methods\.excel: .*did you mean `excl`"),
        (["methods", "ci_mha"], {"alignmnt": "pad"}, r"methods\.ci_mha\.alignmnt: .*did you mean `alignment`"),
        (["training", "methods"], ["ci_mah"], r"training\.methods\.0: .*did you mean `ci_mha`"),
        (["methods", "excl"], {"learning_rate": 0}, r"methods\.excl\.learning_rate: .*greater than 0"),
        (["datasets", "charades", "further"], ["charades_dc"], r"no dataset `charades_dc`; did you mean `charades_cd`"),
        (["datasets", "charades", "further"], ["demo"], r"two splits of one name"),
        (
            ["datasets", "charades_cd", "videos_of"],
            "activitynet_cd",
            r"no dataset `activitynet_cd` with videos of its own",
        ),
        (["datasets", "charades_cd", "videos_of"], "charadez", r"did you mean `charades`"),
        (["datasets", "charades_cd", "videos_of"], ["charades"], r"charades_cd\.videos_of"),
        (["datasets", "demo"], 3, r"datasets\.demo"),
        (["datasets", "charades_cd", "shards"], 3, r"charades_cd\.shards: leave it out"),
        (["features", "c3d", "mode"], "continuous", r"features: .*c3d\.mode: only i3d has the mode"),
        (["features", "i4d"], {}, r"features\.i4d: there is no such setting; did you mean `i3d`"),
        (["features", "import"], {"source": "x.h5", "layout": "hdf5"}, r"holds for one dataset"),
        (OVERRIDES, {"import": {"source": "x.h5", "layot": "hdf5"}}, r"features\.import\.layot.*`layout`"),
        (OVERRIDES, {"import": {"source": "x.h5", "layout": "csv"}}, r"features\.import\.layout: .*'npy_folder'"),
        (OVERRIDES, {"import": {"source": "x", "layout": "hdf5", "fps": 24}}, r"both or neither"),
        (OVERRIDES, {"import": {"source": "x", "layout": "hdf5", "window": 64}}, r"window needs fps and stride"),
        (["features", "i3d", "weights"], "i3d_kinetic", r"i3d\.weights.*no asset.*did you mean `i3d_kinetics400_rgb`"),
        (["features", "i3d", "weights"], "glove_6b_50d", r"i3d\.weights.*no asset for this is called `glove_6b_50d`"),
        (
            ["features", "i3d", "weights"],
            "$(touch x)",
            r"i3d\.weights: .*no asset.*a path has a folder or an extension",
        ),
        (["queries", "vectors"], "glove_6b_100d", r"queries\.vectors: .*did you mean `glove_6b_300d`"),
        ([*CHARADES, "fetch_videos"], "charades_metadata", r"fetch_videos: .*did you mean `charades_videos`"),
        (
            [*CHARADES, "fetch"],
            {"data/x.txt": "$(touch x)"},
            r"fetch\.data/x\.txt: .*no asset.*known: charades_sta_train",
        ),
        ([*CHARADES, "fetch"], {"other/x.txt": "charades_sta_train"}, r"`other/x\.txt` is fetched into data/"),
        ([*CHARADES, "fetch"], {"data/../x.txt": "charades_sta_train"}, r"`data/\.\./x\.txt` is fetched into data/"),
        ([*CHARADES, "fetch"], {"data/./x.txt": "charades_sta_train"}, r"`data/\./x\.txt` is fetched into data/"),
        ([*CHARADES, "fetch"], {"data": "charades_sta_train"}, r"`data` is fetched into data/"),
        ([*CHARADES, "fetch"], {"": "charades_sta_train"}, r"`` is fetched into data/"),
        (["model", "heads"], 7, r"divisible"),
        (["training", "seeds"], [1, 1], r"twice"),
        (["video", "short_side"], 64, r"short_side \(64\) must be at least 112"),
        (["video", "fps"], "fast", r"video\.fps.*found: 'fast'"),
        (["methods", "ci_mha"], {"segmentation_weight": math.inf}, r"methods\.ci_mha\.segmentation_weight: .*finite"),
        (OVERRIDES, {"import": {"source": "x", "layout": "hdf5", "fps": math.inf, "stride": 8}}, r"fps: .*finite"),
    ],
)
def test_what_is_wrong_is_named(values, path, value, message):
    section = values
    for key in path[:-1]:
        section = section.setdefault(key, {})
    section[path[-1]] = value
    with pytest.raises(ConfigError, match=message):
        load_config(values)


def test_weights_and_vectors_may_be_files(values):
    values["features"]["i3d"]["weights"] = "mine/weights"
    values["queries"]["vectors"] = "glove.txt"
    config = load_config(values)
    assert (config.features["i3d"].weights, config.queries.vectors) == ("mine/weights", "glove.txt")


HELD = {"source": "held/c3d.hdf5", "layout": "hdf5"}


def test_imported_features_take_the_place_of_extractors_and_videos(values):
    section = values["datasets"]["activitynet"]
    del section["videos"]
    section["overrides"] = {"features": {"import": HELD | {"fps": 30, "stride": 16, "kind": "c3d_official"}}}
    config = load_config(values)
    assert config.for_dataset("activitynet").features.import_.fps == 30
    # The general settings have no import, and those of another dataset get none.
    assert config.features.import_ is None and config.for_dataset("charades").features.import_ is None


def test_videos_are_needed_unless_features_are_imported(values):
    del values["datasets"]["charades"]["videos"]
    with pytest.raises(ConfigError, match=r"datasets\.charades\.videos: no folder of videos is named.*import"):
        load_config(values)


def test_formats_that_tell_durations(values):
    datasets = load_config(values).datasets
    assert datasets["activitynet"].has_durations and datasets["charades"].has_durations
    values["datasets"]["charades"]["durations"] = []
    assert not load_config(values).datasets["charades"].has_durations


SIMULATED = ["datasets", "charades_sim"]
IMPORT = [*SIMULATED, "overrides", "features", "import"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ([*SIMULATED, "title"], "Charades-STA", r"`simulated` is not in 'Charades-STA'"),
        ([*SIMULATED, "published"], "workflow/published/charades.csv", r"published: .*do not belong beside simulated"),
        ([*SIMULATED, "simulate", "source"], "charade", r"no real dataset `charade`; did you mean `charades`"),
        ([*SIMULATED, "simulate", "source"], "charades_sim_small", r"no real dataset `charades_sim_small`"),
        ([*SIMULATED, "simulate", "videos"], {"val": 3}, r"one file for each split.*wrong: val"),
        ([*SIMULATED, "simulate", "noise"], [], r"simulate\.noise"),
        ([*SIMULATED, "simulate", "noise"], [0.5, math.nan], r"simulate\.noise\.1: .*finite number"),
        ([*SIMULATED, "annotations", "val"], "val.txt", r"charades has no split val; it has: train, test"),
        ([*IMPORT, "kind"], "i3d", r"with a kind that begins with `simulated`"),
        ([*IMPORT, "stride"], 2.5, r"a whole stride"),
        ([*IMPORT, "fps"], 241.0, r"import\.fps: features are simulated at 240 frames a second at most, found 241"),
    ],
)
def test_simulated_datasets_are_labelled_and_complete(values, path, value, message):
    test_what_is_wrong_is_named(values, path, value, message)


def test_the_small_simulation(values):
    config = load_config(values)
    assert config.datasets["charades_sim_small"].simulate.videos == {"train": 1200, "test": 400}
    small, full = config.for_dataset("charades_sim_small"), config.for_dataset("charades_sim")
    assert (small.model.max_steps, small.model.hidden, small.model.query_hidden) == (64, 128, 64)
    assert (full.model.max_steps, full.model.hidden) == (128, 512)


def test_an_unknown_dataset_names_the_nearest(values):
    with pytest.raises(ConfigError, match="did you mean `charades`"):
        load_config(values).for_dataset("charade")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not plain YAML"),
        ("- 1", "expected a mapping"),
        ("a: 2024-13-45", "is not plain YAML"),
    ],
)
def test_yaml_that_is_no_configuration_is_refused(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "config.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"a YAML file was expected, .*Is a directory"):
        read_config(tmp_path)


def test_settings_that_moved_to_their_method_still_count(values, caplog):
    values["methods"] = {"ci_mha": {"segmentation_weight": 3.0}}
    values["model"] |= {"alignment": "pad", "segmentation_weight": 2.0}
    values["datasets"]["charades"]["overrides"] = {
        "model": {"alignment": "cross"}, "training": {"learning_rates": {"mha": 0.01}},
        "methods": {"lgi": {"phrases": 5}},
    }  # fmt: skip
    config = load_config(values)
    own = {
        name: {method: method_settings(method, config.for_dataset(name).methods) for method in METHODS}
        for name in ("charades", "activitynet")
    }
    assert own["activitynet"]["ci_mha"].alignment == "pad"
    assert own["charades"]["ci_mha"].alignment == own["charades"]["mha"].alignment == "cross"
    assert own["charades"]["ci_mha"].segmentation_weight == 3.0  # the new place wins
    assert (own["charades"]["mha"].learning_rate, own["charades"]["ci_mha"].learning_rate) == (0.01, None)
    assert (own["charades"]["lgi"].phrases, own["activitynet"]["lgi"].phrases) == (5, 3)
    assert "model.alignment has moved to methods.ci_mha.alignment" in caplog.text
    assert "training.learning_rates.mha has moved to methods.mha.learning_rate" in caplog.text


def test_the_schema_in_the_tree_is_the_generated_one():
    assert (ROOT / "workflow/schemas/config.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "stale: run `vmr config schema > workflow/schemas/config.schema.json`"
    )


def test_a_dataset_that_is_no_section_is_passed_over_for_one_whose_videos_are_sought(values):
    values["datasets"]["demo"] = 3
    values["datasets"]["charades_cd"]["videos_of"] = "charadez"
    with pytest.raises(ConfigError, match="did you mean `charades`"):
        load_config(values)


def test_a_key_that_stands_twice_is_named(tmp_path):
    text = (ROOT / "config.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text.replace("  epochs: 100", "  epochs: 7\n  epochs: 100"))
    with pytest.raises(ConfigError, match=r"other\.yaml: is not plain YAML: `epochs` stands twice in one section"):
        read_config(tmp_path / "other.yaml")
    (tmp_path / "other.yaml").write_text(text.replace("  epochs: 100", "  epochz: 100"))
    with pytest.raises(ConfigError, match=r"other\.yaml: an entry is wrong"):
        read_config(tmp_path / "other.yaml")


def test_what_is_left_out_takes_the_defaults_of_its_extractor(tmp_path):
    own = {
        "title": "Mine", "annotation_format": "csv", "annotations": {"train": "a.csv", "test": "b.csv"},
        "videos": "videos", "test_splits": {"test": "test"},
        "overrides": {"features": {"i3d": {"mode": "continuous"}, "c3d": {"stride": 8}}},
    }  # fmt: skip
    shipped, config = read_config(ROOT / "config.yaml"), load_config({"datasets": {"mine": own}})
    assert config.features == shipped.features
    made = config.for_dataset("mine").features
    assert made["i3d"] == shipped.features["i3d"].model_copy(update={"mode": "continuous"})
    assert made["c3d"] == shipped.features["c3d"].model_copy(update={"stride": 8})


def test_of_many_wrong_entries_the_first_are_named():
    with pytest.raises(ConfigError) as error:
        load_config({"datasets": {"x": {}}, **{f"wrong_{number}": 1 for number in range(40)}})
    first, *named, last = str(error.value).splitlines()
    wrong = int(first.split(": ")[-1].split(" entries")[0])
    assert wrong > 40 and len(named) == 12 and last == f"  and {wrong - 12} more"
