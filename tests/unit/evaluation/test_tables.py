"""`vmr.evaluation.tables` on made-up metrics, and the published figures that are in the repository."""

import csv
import json
import re
import statistics
from pathlib import Path

import pytest

from vmr.errors import EvaluationError
from vmr.evaluation.metrics import METRICS
from vmr.evaluation.table_rows import published_rows
from vmr.evaluation.tables import TABLE_COLUMNS, make_table

PUBLISHED = Path(__file__).parents[3] / "workflow" / "published"


def _scores(value):
    return {name: value + i for i, name in enumerate(METRICS)}


def _metrics(folder, *, seed=0, value=30.0, name=None, covered=10, **more):
    record = {
        "dataset": "toy",
        "method": "ci_mha",
        "features": "i3d, stride 8",
        "alignment": "attention",
        "split": "test",
        "seed": seed,
        "selection": "validation",
        "trained": True,
        "queries": 10,
        "covered": covered,
        "videos": 5,
        "covered_videos": 4,
        "scores": {kind: _scores(value) for kind in ("raw", "clamped", "raw_covered", "clamped_covered")},
        "confidence": {"raw": {name: [value, value + 4] for name in METRICS}},
        "run": {"chosen_epoch": 10 + seed, "reason": "highest of validation"},
    } | more
    path = folder / f"{name or record['method'] + '_' + str(seed)}.json"
    path.write_text(json.dumps(record))
    return path


def _baselines(folder, **more):
    rows = [
        {"window": None, "criteria": [], "scores": {"raw": _scores(3), "clamped": _scores(3)}},
        {"window": [0, 0.3], "criteria": ["R@1,IoU=0.5"], "scores": {"raw": _scores(15), "clamped": _scores(15)}},
        {"window": [0, 0.4], "criteria": ["R@1,IoU=0.7"], "scores": {"raw": _scores(16), "clamped": _scores(16)}},
    ]
    record = {
        "split": "test",
        "train_split": "train",
        "training_queries": 7,
        "grid_step": 0.05,
        "queries": 10,
        "rows": rows,
    }
    path = folder / "baselines.json"
    path.write_text(json.dumps(record | more))
    return path


def _table(folder, metrics, *, baselines=(), published=None, dataset="toy"):
    make_table(
        metrics=list(metrics),
        baselines=list(baselines),
        published=published,
        output_csv=folder / "table.csv",
        output_md=folder / "table.md",
        dataset=dataset,
    )
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file)), (folder / "table.md").read_text()


def test_columns_order_and_numbers(tmp_path):
    values = [30.0, 31.0, 35.0]
    metrics = [_metrics(tmp_path, seed=seed, value=value) for seed, value in enumerate(values)]
    metrics.append(_metrics(tmp_path, method="mha", value=20.123))
    rows, _ = _table(tmp_path, metrics, baselines=[_baselines(tmp_path)], published=PUBLISHED / "charades.csv")
    assert list(rows[0]) == TABLE_COLUMNS
    assert ",".join(TABLE_COLUMNS) == (
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,"
        "R1@0.7_std,R1@0.5_std,R1@0.3_std,mIoU_std,seeds,queries,coverage"
    )
    assert [row["method"] for row in rows[25:]] == ["Random", "Best constant window [0.00, 0.30]", "MHA", "CI-MHA"]
    mha, ci_mha = rows[-2:]
    # METRICS lists R@1 at 0.3, 0.5, 0.7 first and mIoU last; _scores counts up along it.
    assert [mha[name] for name in TABLE_COLUMNS[4:]] == [
        *("22.12", "21.12", "20.12", "26.12"),
        *("", "", "", ""),
        *("1", "10", "100.00"),
    ]
    assert float(ci_mha["R1@0.7"]) == pytest.approx(statistics.mean(values) + 2, abs=0.005)
    assert float(ci_mha["mIoU_std"]) == pytest.approx(statistics.stdev(values), abs=0.005)
    assert (ci_mha["seeds"], ci_mha["source"]) == ("3", "computed here; alignment: attention")


def test_own_datasets_have_no_published_rows(tmp_path):
    rows, text = _table(tmp_path, [_metrics(tmp_path)], baselines=[_baselines(tmp_path)])
    assert [row["method"] for row in rows] == ["Random", "Best constant window [0.00, 0.30]", "CI-MHA"]
    assert "published" not in text


def test_labels_that_must_be_seen(tmp_path):
    metrics = [
        _metrics(tmp_path, method="mha", selection="test"),
        _metrics(tmp_path, method="ci_mha", trained=False, alignment="pad"),
    ]
    rows, text = _table(tmp_path, metrics)
    assert rows[0]["source"].endswith("; selection: test")
    assert rows[1]["source"] == "computed here; alignment: pad; untrained: no training video has features"
    assert "chosen on the test split" in text


def test_the_text_tells_coverage_epochs_and_which_methods_a_window_beats(tmp_path):
    metrics = [_metrics(tmp_path, covered=3, seed=seed, value=float(seed)) for seed in (0, 1)]
    _, text = _table(tmp_path, metrics, baselines=[_baselines(tmp_path)], published=PUBLISHED / "charades.csv")
    assert "4 of 5 test videos (3 of 10 queries) have features" in text
    assert "## Only the queries whose video has features" in text
    assert "10 (seed 0), 11 (seed 1). Why: highest of validation." in text
    # 16 + 2 at 0.7, by the window that was chosen by it.
    assert "at R1@0.7 the window [0.00, 0.40] gives 18.00, more than LOGAN (14.54), MLVI (15.80) and TripNet" in text
    assert "at R1@0.7 the window [0.00, 0.30]" not in text
    assert "how its spans are drawn (8.51 at 0.5, 3.03 at 0.7)" in text
    assert "secondary list" in text
    header, *_ = [line for line in text.splitlines() if line.startswith("| Method")]
    block = text[text.index(header) :].split("\n\n")[0].splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1
    assert "**" not in next(line for line in block if line.startswith("| CI-MHA ") and "2.50" in line)
    assert "**17.00**" in text  # the window of the table, at 0.7; the other one stands below the table only


def test_neighbours_and_blind_rows_are_named_and_explained(tmp_path):
    methods = ["ci_mha", "lgi", "vslnet", "excl", "ci_mha_video_blind", "ci_mha_query_blind", "mha"]
    metrics = [_metrics(tmp_path, method=method, alignment=None) for method in methods]
    rows, text = _table(tmp_path, metrics)
    assert [row["method"] for row in rows] == [
        "CI-MHA, query-blind", "CI-MHA, video-blind", "ExCL (ours)", "VSLNet (ours)", "LGI (ours)", "MHA", "CI-MHA",
    ]  # fmt: skip
    assert rows[2]["source"] == "computed here"
    assert "Blind rows are CI-MHA" in text
    assert "its R@5 is its R@1" in text
    _, text = _table(tmp_path, metrics[-1:])
    assert "Blind rows" not in text
    assert "LGI" not in text


def test_full_coverage_has_no_section_on_it(tmp_path):
    assert "Only the queries" not in _table(tmp_path, [_metrics(tmp_path)])[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "other"}, "belong to the dataset other"),
        ({"queries": 11}, "queries is 10 in one and 11"),
        ({"covered": 9}, "covered is 10 in one and 9"),
        ({"features": "c3d"}, "features is 'i3d, stride 8' in one and 'c3d'"),
        ({"alignment": "pad"}, "alignment is"),
        ({"selection": "test"}, "selection is"),
        ({"trained": False}, "trained is"),
        ({"seed": 0}, "both hold seed 0"),
    ],
)
def test_scores_that_do_not_belong_together_are_not_averaged(tmp_path, change, said):
    metrics = [_metrics(tmp_path, name="one"), _metrics(tmp_path, **{"seed": 1, "name": "two"} | change)]
    with pytest.raises(EvaluationError, match=r"two\.json") as caught:
        _table(tmp_path, metrics)
    assert said in str(caught.value)
    assert not (tmp_path / "table.csv").exists()


def test_two_extractors_with_the_same_seeds_are_two_rows(tmp_path):
    metrics = [
        _metrics(tmp_path, name=f"{kind}_{seed}", seed=seed, features=kind)
        for kind in ("i3d", "c3d")
        for seed in (0, 1)
    ]
    rows, _ = _table(tmp_path, metrics)
    assert [(row["features"], row["seeds"]) for row in rows] == [("i3d", "2"), ("c3d", "2")]


def test_splits_stay_apart_and_together(tmp_path):
    metrics = [
        _metrics(tmp_path, name=f"{split}{m}", split=split, method=m) for m in ("ci_mha", "mha") for split in "ab"
    ]
    rows, _ = _table(tmp_path, metrics)
    assert [(row["split"], row["method"]) for row in rows] == [
        ("a", "MHA"),
        ("a", "CI-MHA"),
        ("b", "MHA"),
        ("b", "CI-MHA"),
    ]


def test_baselines_on_other_queries_are_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"11 queries, CI-MHA .*ci_mha_0\.json.* on 10"):
        _table(tmp_path, [_metrics(tmp_path)], baselines=[_baselines(tmp_path, queries=11)])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"dataset": "toy"}'])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"bad\.json"):
        _table(tmp_path, [tmp_path / "bad.json"])


@pytest.mark.parametrize(
    "content",
    [
        "method,score\nMHA,3\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,note\nMHA,x,y,test,1,2,3,4\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,note\nMHA,x,y,test,-,2,3,4,\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,note\nMHA,x,y,test,101,2,3,4,\n",
    ],
)
def test_published_figures_are_checked(tmp_path, content):
    (tmp_path / "published.csv").write_text(content)
    with pytest.raises(EvaluationError, match=r"published\.csv"):
        published_rows(tmp_path / "published.csv")


def _paper_table(shared_data, number):
    """Rows of a table of the paper: method -> R@1 at 0.7, 0.5, 0.3; '-' becomes None."""
    text = (shared_data.parent / "paper/ci-mha-paper.md").read_text()
    rows = {}
    for line in text[text.index(f"**Table {number}:") :].splitlines()[3:]:
        if "\t" not in line:
            break
        method, *cells = re.sub(r"</?b>", "", line).split("\t")
        name = re.sub(r" \[\d+\]", "", method)
        rows[name] = [None if cell == "-" else float(cell.rstrip("%")) for cell in cells]
    return rows


@pytest.mark.parametrize(("number", "name", "count"), [(1, "charades", 9), (2, "activitynet", 7)])
def test_every_row_of_the_paper_is_there_as_printed(shared_data, number, name, count):
    expected = _paper_table(shared_data, number)
    assert len(expected) == count
    rows = published_rows(PUBLISHED / f"{name}.csv")
    found = {
        row.method: [row.scores[f"R@1,IoU={threshold}"] for threshold in (0.7, 0.5, 0.3)]
        for row in rows
        if row.source == f"Yu et al. 2021, Table {number}"
    }
    assert found == expected
    assert list(found) == list(expected)


def test_every_further_published_figure_is_there(shared_data):
    text = (shared_data.parent / "reference/published.md").read_text()
    charades, activitynet = (text.index(name) for name in ("Charades-STA: ", "ActivityNet Captions (the"))
    end = text.index("Blind baselines")
    for name, part in (("charades", text[charades:activitynet]), ("activitynet", text[activitynet:end])):
        rows = published_rows(PUBLISHED / f"{name}.csv")
        triples = {
            (*(row.scores[f"R@1,IoU={threshold}"] for threshold in (0.3, 0.5, 0.7)), "*" in row.source) for row in rows
        }
        found = re.findall(r"(-|[\d.]+)/([\d.]+)/([\d.]+?)(?= |,|;|\.\s)( \*)?", part)
        assert len(found) > 7
        for *cells, star in found:
            assert (*(None if cell == "-" else float(cell) for cell in cells), bool(star)) in triples


def test_splits_and_miou_of_the_further_rows():
    """By hand from ../shared/reference/published.md, whose ActivityNet rows are of different splits."""
    rows = [row for row in published_rows(PUBLISHED / "activitynet.csv") if not row.source.startswith("Yu")]
    assert [(row.method, row.split) for row in rows] == [
        ("ExCL", "val_1"),
        ("VSLNet", "val_1"),
        ("DRN", "val_1"),
        ("DRN", "val_2"),
        ("2D-TAN (pool)", "val_2"),
        ("2D-TAN (conv)", "val_2"),
        ("LGI", "val_1+val_2"),
        ("SnAG", "not named"),
    ]
    rows += published_rows(PUBLISHED / "charades.csv")
    assert [(row.method, row.scores["mIoU"]) for row in rows if row.scores["mIoU"] is not None] == [
        ("LGI", 41.48),
        ("VSLNet", 45.15),  # with features as ours, from a secondary list
        ("VSLNet", 50.02),
        ("LGI", 50.93),
        ("UniVTG (pre-trained)", 52.17),
    ]
