"""`vmr.tables.make` on made-up metrics, and the published figures that are in the repository."""

import csv
import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest

from vmr.errors import EvaluationError
from vmr.evaluation.bootstrap import VideoSums, covered_scores, write_video_scores
from vmr.evaluation.metrics import METRICS
from vmr.tables.make import TABLE_COLUMNS, make_table
from vmr.tables.rows import published_rows

PUBLISHED = Path(__file__).parents[3] / "workflow" / "published"


def _scores(value):
    return {name: value + i for i, name in enumerate(METRICS)}


def _metrics(folder, *, seed=0, value=30.0, name=None, covered=10, hits=None, **more):
    """A record of scores; `hits` writes sums by video too: right answers of each of five videos' two queries."""
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
        "run": {"chosen_epoch": 10 + seed, "reason": "highest of validation"},
    } | more
    path = folder / f"{name or record['method'] + '_' + str(seed)}.json"
    if hits is not None:
        record["video_scores"] = f"{path.stem}.csv"
        videos = _videos(hits, covered=[2 * number < covered for number in range(5)])
        record["scores"]["raw"] = covered_scores(videos, np.ones(5, dtype=bool))["raw"]
        write_video_scores(path.with_suffix(".csv"), [videos])
    path.write_text(json.dumps(record))
    return path


def _videos(hits, *, covered=(True,) * 5, names="vwxyz"):
    sums = np.repeat(np.array(hits, dtype=float)[:, None], len(METRICS), axis=1)
    queries = np.full(len(hits), 2)
    return VideoSums(tuple(names), queries, np.array(covered), {"raw": sums, "clamped": sums + 0.25})


def _baselines(folder, *, hits=None, **more):
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
    if hits is not None:
        record["video_scores"] = "baselines.csv"
        write_video_scores(folder / "baselines.csv", [_videos(own) for own in hits])
    path.write_text(json.dumps(record | more))
    return path


def _table(folder, metrics, *, baselines=(), published=None, **more):
    outputs = {"output_csv": folder / "table.csv", "output_md": folder / "table.md"}
    make_table(metrics=metrics, baselines=list(baselines), published=published, dataset="toy", **outputs, **more)
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
        "R1@0.7_std,R1@0.5_std,R1@0.3_std,mIoU_std,seeds,queries,coverage,"
        "R5@0.7,R5@0.5,R5@0.3,R1@0.7_clamped,R1@0.5_clamped,R1@0.3_clamped,mIoU_clamped,"
        "R5@0.7_clamped,R5@0.5_clamped,R5@0.3_clamped,"
        "block,oracle_R1@0.7,oracle_R1@0.5,oracle_R1@0.3,oracle_mIoU"
    )
    printed = published_rows(PUBLISHED / "charades.csv")
    weak = ["LOGAN", "TGA", "TGA (corrected)", "SCN", "LoGAN", "RTBPN", "CPL"]
    assert [row["method"] for row in rows[len(printed) - 7 :]] == [
        *weak, "Random", "Best constant window [0.00, 0.30]", "MHA", "CI-MHA",
    ]  # fmt: skip
    mha, ci_mha = rows[-2:]
    # METRICS lists R@1 at 0.3, 0.5, 0.7 first and mIoU last; _scores counts up along it.
    assert [mha[name] for name in TABLE_COLUMNS[4:]] == [
        *("22.12", "21.12", "20.12", "26.12"),
        *("", "", "", ""),
        *("1", "10", "100.00"),
        *("25.12", "24.12", "23.12"),
        *("22.12", "21.12", "20.12", "26.12", "25.12", "24.12", "23.12"),
        *("span regression and boundaries", "", "", "", ""),
    ]
    assert set(rows[0][name] for name in TABLE_COLUMNS[15:-5]) == {""}  # of Random the paper prints R@1 only
    man = next(row for row in rows if (row["method"], row["features"]) == ("MAN", "I3D"))
    assert [man[f"R5@{threshold}"] for threshold in (0.7, 0.5, 0.3)] == ["53.72", "86.23", ""]
    assert float(ci_mha["R1@0.7"]) == pytest.approx(statistics.mean(values) + 2, abs=0.005)
    assert float(ci_mha["mIoU_std"]) == pytest.approx(statistics.stdev(values), abs=0.005)
    assert (ci_mha["seeds"], ci_mha["source"]) == ("3", "computed here; alignment: attention")


def test_the_spread_is_that_of_the_scores_printed_beside_it(tmp_path):
    raw, clamped = [30.0, 31.0, 35.0], [40.0, 50.0, 60.0]
    metrics = []
    for seed, (one, other) in enumerate(zip(raw, clamped, strict=True)):
        scores = {kind: _scores(one if kind.startswith("raw") else other) for kind in ("raw", "clamped")}
        metrics.append(_metrics(tmp_path, seed=seed, scores=scores))
    rows, _ = _table(tmp_path, metrics)
    assert float(rows[-1]["mIoU"]) - METRICS.index("mIoU") == pytest.approx(statistics.mean(raw), abs=0.005)
    assert float(rows[-1]["mIoU_std"]) == pytest.approx(statistics.stdev(raw), abs=0.005)
    assert float(rows[-1]["mIoU_clamped"]) - METRICS.index("mIoU") == pytest.approx(statistics.mean(clamped), abs=0.005)


def test_own_datasets_have_no_published_rows_and_full_coverage_no_section(tmp_path):
    rows, text = _table(tmp_path, [_metrics(tmp_path)], baselines=[_baselines(tmp_path)])
    assert [row["method"] for row in rows] == ["Random", "Best constant window [0.00, 0.30]", "CI-MHA"]
    assert "published" not in text and "imulated" not in text
    assert "Only the queries" not in text  # all of them


@pytest.mark.parametrize(
    ("told", "shown"),
    [({"features": "simulated"}, "simulated"), ({"features": "my_i3d", "simulated": True}, "my_i3d (simulated)")],
)
def test_simulated_features_are_labelled_and_stay_apart_from_published_figures(tmp_path, told, shown):
    metrics = [_metrics(tmp_path, **told)]
    rows, text = _table(tmp_path, metrics, baselines=[_baselines(tmp_path)])
    assert rows[-1]["features"] == shown
    assert text.split("\n\n")[1].startswith("**Simulated features**: no video was seen.")
    with pytest.raises(EvaluationError, match="figures of real features do not belong beside simulated ones"):
        _table(tmp_path, metrics, published=PUBLISHED / "charades.csv")


def test_simulated_and_real_features_of_one_name_are_neither_averaged_nor_compared(tmp_path):
    metrics = [
        _metrics(tmp_path, features="my_i3d", method=name, simulated=name == "ci_mha") for name in ("ci_mha", "mha")
    ]
    assert "## Effects" not in _table(tmp_path, metrics)[1]
    metrics[1] = _metrics(tmp_path, name="other", seed=1, features="my_i3d", simulated=False)
    with pytest.raises(EvaluationError, match="simulated is True in one and False in the other"):
        _table(tmp_path, metrics)


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
    assert "at R1@0.7 the window [0.00, 0.40] gives 18.00, more than MLVI (15.80), TripNet (16.07)" in text
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
        "Query-blind CI-MHA", "Video-blind CI-MHA", "ExCL (ours)", "VSLNet (ours)", "LGI (ours)", "MHA", "CI-MHA",
    ]  # fmt: skip
    assert rows[2]["source"] == "computed here"
    assert "Blind rows are networks" in text
    assert "its R@5 is its R@1" in text
    _, text = _table(tmp_path, metrics[-1:])
    assert "Blind rows" not in text
    assert "LGI" not in text


def test_rows_stand_under_the_heads_of_their_blocks(tmp_path):
    methods = ["ci_mha", "tan_2d", "tga", "drn_query_blind", "drn", "somebodys"]
    metrics = [_metrics(tmp_path, method=method) for method in methods]
    rows, text = _table(tmp_path, metrics, baselines=[_baselines(tmp_path)], published=PUBLISHED / "charades.csv")
    assert [(row["method"], row["block"]) for row in rows[-8:]] == [
        ("Random", "baselines"),
        ("Best constant window [0.00, 0.30]", "baselines"),
        ("Query-blind DRN", "baselines"),
        ("TGA (ours)", "weakly supervised"),
        ("2D-TAN (ours)", "proposals"),
        ("DRN (ours)", "span regression and boundaries"),
        ("CI-MHA", "span regression and boundaries"),
        ("somebodys", "other systems"),
    ]
    lines = text[text.index("| Method") :].split("\n\n")[0].splitlines()
    heads = [line.split("|")[1].strip() for line in lines if line.startswith("| *")]
    assert heads == [
        "*Published*", "*Published, weakly supervised*", "*Baselines*", "*Weakly supervised*", "*Proposals*",
        "*Span regression and boundaries*", "*Other systems*",
    ]  # fmt: skip
    # What comes after the head of published weak methods: theirs alone.
    start = next(number for number, line in enumerate(lines) if "weakly supervised*" in line)
    assert [line.split("|")[1].strip() for line in lines[start + 1 : start + 4]] == ["LOGAN", "TGA", "TGA (corrected)"]
    assert "Effect of the query (DRN (ours) minus Query-blind DRN)" in text


def test_oracles_stand_beside_rows_that_choose_among_candidates(tmp_path):
    free, mended = _metrics(tmp_path), _metrics(tmp_path, method="tan_2d", seed=0)
    assert "Oracle" not in _table(tmp_path, [free, mended])[1]
    scores = {"raw": _scores(30), "oracle": _scores(90)}
    metrics = [free, *(_metrics(tmp_path, method=method, scores=scores) for method in ("tan_2d", "ctrl"))]
    rows, text = _table(tmp_path, metrics)
    assert [row["oracle_R1@0.7"] for row in rows] == ["92.00", "92.00", ""]
    cells = [_cells(text, title)[8] for title in ("2D-TAN", "CTRL", "CI-MHA")]
    assert cells == ["92.0 / 91.0 / 90.0", "(92.0 / 91.0 / 90.0)", ""]
    assert "a row cannot exceed it. In brackets: CTRL moves its candidates, and can." in text
    mixed = [metrics[1], _metrics(tmp_path, method="tan_2d", seed=1, name="old", scores={"raw": _scores(30)})]
    assert _table(tmp_path, mixed)[0][0]["oracle_R1@0.7"] == ""


def test_weak_rows_say_what_spans_would_have_chosen_and_how_far_they_are_behind(tmp_path):
    run = {
        "chosen_epoch": 3, "chosen_scores": {"mIoU": 20.5}, "reason": "lowest validation_loss",
        "by_spans": {"epoch": 7, "mIoU": 24.25},
    }  # fmt: skip
    weak = [_metrics(tmp_path, method="tga", value=12.0, run=run), _metrics(tmp_path, method="scn", value=11.0, run={})]
    metrics = [*weak, _metrics(tmp_path, value=30.0), _metrics(tmp_path, method="mha", value=20.0)]
    notes = _section(_table(tmp_path, metrics, baselines=[_baselines(tmp_path)])[1], "Notes")
    assert "epoch 7 (seed 0: mIoU 24.25, 20.50 at epoch 3)." in notes
    assert "- SCN (ours) (i3d, stride 8, test) learns from pairs" in notes
    # 32 - 14 and so on; the window chosen at 0.5 has 16 there, TGA 12 + 1.
    gap = "TGA (ours), is below the best of those that learn from them, CI-MHA (both by R1@0.5), by 18.00 at R1@0.7"
    assert gap in notes and "at R1@0.5 it has 13.00, the constant window 16.00." in notes
    assert "without spans" not in _table(tmp_path, weak)[1]


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


def _trained(folder, seed, *, ran=5, **settings):
    """A record that tells how it was trained."""
    settings = {"hidden": 8, "epochs": 9, "learning_rate": 0.1, "precision": "float32", "seed": seed} | settings
    return _metrics(folder, seed=seed, run={"settings": settings, "epochs_run": ran})


def test_seeds_that_were_trained_differently_are_not_averaged(tmp_path):
    with pytest.raises(EvaluationError, match=r"ci_mha_0\.json and .*ci_mha_2\.json: hidden is 8 in one and 16 in the"):
        _table(tmp_path, [_trained(tmp_path, 0), _trained(tmp_path, 1), _trained(tmp_path, 2, hidden=16)])
    with pytest.raises(EvaluationError, match="epochs is 9 in one and 5 in the other"):
        _table(tmp_path, [_trained(tmp_path, 0, ran=9), _trained(tmp_path, 1, epochs=5), _trained(tmp_path, 2)])
    with pytest.raises(EvaluationError, match="epochs is 9 in one and 5 in the other"):
        _table(tmp_path, [_trained(tmp_path, 0, ran=8), _trained(tmp_path, 1, epochs=5)])
    # Patience ended both before; another card has another precision; older records do not say.
    alike = [_trained(tmp_path, 0), _trained(tmp_path, 1, epochs=6, precision="bfloat16"), _metrics(tmp_path, seed=2)]
    assert _table(tmp_path, alike)[0][-1]["seeds"] == "3"


def test_a_window_that_beats_the_video_blind_row_is_told(tmp_path):
    metrics = [_metrics(tmp_path), _metrics(tmp_path, method="ci_mha_video_blind", value=14.0)]
    # _scores counts up along METRICS: the window chosen at 0.5 has 16 there, the blind row 15; at 0.7 18 and 16.
    text = _table(tmp_path, metrics, baselines=[_baselines(tmp_path)])[1]
    ahead = "Video-blind CI-MHA (i3d, stride 8) at R1@0.7 (18.00 to 16.00) and R1@0.5 (16.00 to 15.00): "
    assert f"is ahead of {ahead}" in text
    metrics[1] = _metrics(tmp_path, method="ci_mha_video_blind", value=16.0)
    assert "ahead of" not in _table(tmp_path, metrics, baselines=[_baselines(tmp_path)])[1]


def test_splits_stay_together_and_methods_and_extractors_apart(tmp_path):
    metrics = [
        _metrics(tmp_path, name=f"{kind}{split}{m}{seed}", features=kind, split=split, method=m, seed=seed)
        for kind in ("i3d", "c3d")
        for m in ("ci_mha", "mha")
        for split in "ab"
        for seed in (0, 1)
    ]
    rows, _ = _table(tmp_path, metrics)
    assert [(row["split"], row["features"], row["method"], row["seeds"]) for row in rows] == [
        (split, kind, method, "2") for split in "ab" for method in ("MHA", "CI-MHA") for kind in ("i3d", "c3d")
    ]


def test_baselines_on_other_queries_are_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"11 queries, CI-MHA .*ci_mha_0\.json.* on 10"):
        _table(tmp_path, [_metrics(tmp_path)], baselines=[_baselines(tmp_path, queries=11)])


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({}, "`raw`, found"),
        ({"clamped": _scores(30)}, "`raw`, found clamped"),
        ({"raw": None}, "`raw`, found raw"),
        ([30.0], "`raw`, found list"),
        ({"raw": {"mIoU": 30.0}}, "a percentage as raw.R@1,IoU=0.3, found None"),
        ({"raw": _scores(30), "clamped": _scores(30) | {"mIoU": float("nan")}}, "clamped.mIoU, found nan"),
        ({"raw": _scores(30), "clamped": 3.0}, "clamped.R@1,IoU=0.3, found None"),
    ],
)
def test_a_record_without_the_scores_that_the_table_shows_is_named(tmp_path, scores, said):
    with pytest.raises(EvaluationError, match=r"ci_mha_0\.json: scores: expected") as caught:
        _table(tmp_path, [_metrics(tmp_path, scores=scores)])
    assert said in str(caught.value)
    rows = [{"window": None, "criteria": [], "scores": scores}]
    with pytest.raises(EvaluationError, match=r"baselines\.json: row 1: scores: expected"):
        _table(tmp_path, [_metrics(tmp_path)], baselines=[_baselines(tmp_path, rows=rows)])


def test_counts_that_the_table_shows_are_asked_for(tmp_path):
    path = _metrics(tmp_path)
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "videos"})
    )
    with pytest.raises(EvaluationError, match=r"ci_mha_0\.json: .* videos not found"):
        _table(tmp_path, [path])
    whole = {"window": [0, 0.3], "criteria": ["mIoU"], "scores": {"raw": _scores(15), "clamped": _scores(15)}}
    damages = ({"window": 3}, {"window": [0]}, {"window": ["a", "b"]}, {"criteria": 3}, {"criteria": ["x"]})
    for row in ({"window": None}, *(whole | damage for damage in damages)):
        with pytest.raises(EvaluationError, match=r"baselines\.json: row 1: expected window, criteria and scores"):
            _table(tmp_path, [_metrics(tmp_path)], baselines=[_baselines(tmp_path, rows=[row])])
    with pytest.raises(EvaluationError, match=r"baselines\.json: `rows` is no list"):
        _table(tmp_path, [_metrics(tmp_path)], baselines=[_baselines(tmp_path, rows=3)])


@pytest.mark.parametrize(
    "content",
    [
        "method,score\nMHA,3\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,note\nMHA,x,y,test,1,2,3,4\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,note\nMHA,x,y,test,-,2,3,4,\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,note\nMHA,x,y,test,101,2,3,4,\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,R5@0.9,note\nMHA,x,y,test,1,2,3,4,5,\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,R5@0.5,note\nMHA,x,y,test,1,2,3,4,500,\n",
        "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,block,note\nMHA,x,y,test,1,2,3,4,weak,\n",
    ],
)
def test_published_figures_are_checked(tmp_path, content):
    (tmp_path / "published.csv").write_text(content)
    with pytest.raises(EvaluationError, match=r"published\.csv"):
        published_rows(tmp_path / "published.csv")


def test_published_figures_from_before_r5_are_read(tmp_path):
    header = "method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,note\n"
    (tmp_path / "published.csv").write_text(f"{header}MHA,x,y,test,1,2,,4,n\n")
    (row,) = published_rows(tmp_path / "published.csv")
    assert list(row.scores.values()) == [1.0, 2.0, None, 4.0] and (row.block, row.note) == ("published", "n")


def _section(text, title):
    return text[text.index(f"## {title}\n") :].split("\n## ")[0]


def _cells(section, start):
    line = next(line for line in section.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_effect_of_the_segmentation_task_by_hand(tmp_path):
    # Right answers of the five videos' two queries: 7, 8 and 8 of 10 with it; 5, 6 and 4 without.
    with_it = [[2, 2, 1, 1, 1], [2, 2, 2, 1, 1], [2, 2, 2, 2, 0]]
    without = [[1, 1, 1, 1, 1], [2, 1, 1, 1, 1], [2, 2, 0, 0, 0]]
    metrics = [
        _metrics(tmp_path, method=method, seed=seed, hits=hits)
        for method, runs in (("ci_mha", with_it), ("ci_mha_wo_ms", without))
        for seed, hits in enumerate(runs)
    ]
    _, text = _table(tmp_path, metrics, published=PUBLISHED / "charades.csv")
    section = _section(text, "Effects")
    title = "Effect of the segmentation task (CI-MHA minus CI-MHA w/o MS)"
    cells = _cells(section, title)
    assert cells[1:4] == ["test", "i3d, stride 8", "3"]
    # Differences by seed 20, 20 and 40 points: mean 26.67, standard error 11.547 / sqrt(3) = 6.67.
    assert [cell.split(" [")[0] for cell in cells[4:]] == ["+26.67 ± 6.67"] * 4
    # Differences by video (means over seeds, of 2 queries) are 1/3, 2/3, 1, 2/3, 0: no draw leaves [0, 50].
    low, high = map(float, re.search(r"\[(.+), (.+)\]", cells[4]).groups())
    assert 0 < low < 26.67 < high < 50
    # Table 1 of the paper: 35.27 - 31.39, 54.68 - 52.41, 69.87 - 62.78.
    printed = next(line for line in section.splitlines() if "as printed by Yu et al. 2021" in line)
    assert re.findall(r"[+-][\d.]+", printed) == ["+3.88", "+2.27", "+7.09"]
    assert "cross interaction" not in section


def test_methods_with_other_settings_or_seeds_are_not_paired(tmp_path):
    one = [_metrics(tmp_path, seed=seed, value=30.0 + seed) for seed in (0, 1, 2)]
    mha = [_metrics(tmp_path, method="mha", seed=seed, value=20.0) for seed in (1, 2, 3)]
    cross = "Effect of the cross interaction (CI-MHA minus MHA)"
    section = _section(_table(tmp_path, one + mha)[1], "Effects")
    # Seeds 1 and 2 are common: differences 11 and 12.
    assert _cells(section, cross)[3:5] == ["2", "+11.50 ± 0.50"]
    assert "Only the seeds that both methods have" in section
    other = [_metrics(tmp_path, method="mha", seed=seed, alignment="pad") for seed in (0, 1, 2)]
    assert "## Effects" not in _table(tmp_path, one + other)[1]


def test_one_seed_has_an_effect_without_an_error(tmp_path):
    metrics = [_metrics(tmp_path, value=30.0), _metrics(tmp_path, method="ci_mha_wo_ms", value=32.0)]
    cells = _cells(_section(_table(tmp_path, metrics)[1], "Effects"), "Effect of the segmentation task")
    assert cells[3:] == ["1", "-2.00", "-2.00", "-2.00", "-2.00"]


def test_intervals_are_those_of_the_mean_over_seeds(tmp_path):
    # Each seed alone is right in some videos and wrong in others; together they are half right everywhere.
    metrics = [_metrics(tmp_path, seed=0, hits=[2, 0, 2, 0, 1]), _metrics(tmp_path, seed=1, hits=[0, 2, 0, 2, 1])]
    _, text = _table(tmp_path, metrics, baselines=[_baselines(tmp_path, hits=[[0] * 5, [2] * 5, [1] * 5])])
    section = _section(text, "Confidence over test videos")
    assert _cells(section, "CI-MHA")[3:] == ["50.00 [50.00, 50.00]"] * 4
    assert _cells(section, "Best constant window [0.00, 0.30]")[3].endswith("[100.00, 100.00]")
    alone = _section(_table(tmp_path, metrics[:1])[1], "Confidence over test videos")
    assert _cells(alone, "CI-MHA")[3] != "50.00 [50.00, 50.00]"


def test_baselines_are_scored_on_the_covered_videos_too(tmp_path):
    metrics = [_metrics(tmp_path, covered=4, hits=[2, 1, 0, 0, 0])]  # the first two videos are covered
    blind = [[0, 0, 2, 2, 2], [2, 1, 0, 0, 0], [1] * 5]
    _, text = _table(tmp_path, metrics, baselines=[_baselines(tmp_path, hits=blind)])
    section = _section(text, "Only the queries whose video has features")
    assert _cells(section, "Random")[3:5] == ["4", "0.00"]
    # 3 of the 4 covered queries; clamped, a quarter more in each video.
    assert _cells(section, "Best constant window")[3:] == ["4", *["75.00"] * 4, *["87.50"] * 4]


def test_scores_by_video_of_other_queries_are_refused(tmp_path):
    metrics = [_metrics(tmp_path, seed=0, hits=[1] * 5), _metrics(tmp_path, seed=1, hits=[1] * 5)]
    write_video_scores(tmp_path / "ci_mha_1.csv", [_videos([1] * 5, names="vwxy!")])
    with pytest.raises(EvaluationError, match=r"ci_mha_0\.json and .*ci_mha_1\.json: their scores by video"):
        _table(tmp_path, metrics)
    (tmp_path / "ci_mha_1.csv").unlink()
    with pytest.raises(EvaluationError, match=r"ci_mha_1\.csv: .*scores by video.* Evaluate again"):
        _table(tmp_path, metrics)


def test_splits_of_a_further_dataset_are_rows_that_say_what_they_were_trained_on(tmp_path):
    cd = {"dataset": "toy_cd", "split": "cd_test_ood", "train_split": "cd_train", "queries": 8, "covered": 8}
    metrics = [_metrics(tmp_path, train_split="train"), _metrics(tmp_path, name="cd", **cd)]
    rows, text = _table(tmp_path, metrics, further=["toy_cd"])
    assert [(row["split"], row["queries"], row["source"].split("; ")[-1]) for row in rows] == [
        ("test", "10", "trained on train"),
        ("cd_test_ood", "8", "trained on cd_train"),
    ]
    assert "- CI-MHA, i3d, stride 8, trained on cd_train: epoch 10 (seed 0)." in text
    assert "trained on" not in _table(tmp_path, metrics[:1])[0][0]["source"]
    with pytest.raises(EvaluationError, match="belong to the dataset toy_cd, the table to toy"):
        _table(tmp_path, metrics)


def test_moments_past_the_ends_of_their_videos_are_told(tmp_path):
    reason = "all 9 training moments begin after their video ends (such as 500 to 1500 s of 3.00 s); milliseconds"
    run = {"chosen_epoch": 0, "reason": reason}
    rows, text = _table(tmp_path, [_metrics(tmp_path, trained=False, past_end=10, run=run)])
    assert "untrained: all 9 training moments begin after their video ends" in rows[0]["source"]
    assert "10 of the 10 moments of test begin after their videos end: no answer finds them." in text


def test_test_videos_that_were_trained_on_are_told(tmp_path):
    _, text = _table(tmp_path, [_metrics(tmp_path, trained_on_videos=3)])
    assert "3 of the 5 test videos of test were trained on too: the scores there are too good." in text


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


def test_every_figure_of_the_cited_systems_is_there(shared_data):
    """Those marked † come from memory and stay out; brackets tell of figures that are no rows."""
    text = (shared_data.parent / "reference/systems.md").read_text()
    text = text[text.index("Published rows to add") : text.index("None on ActivityNet:")]
    for aside in (
        r"\(\[P\]\s+43\.78.*?\)",
        r"\(a user got.*?\)",
        r"\(first version, as\s+in",
        r"wMAN.*?†[^.]*\S+",
        r"\[P\]",
    ):
        assert re.search(aside, text, re.DOTALL)
        text = re.sub(aside, " ", text, flags=re.DOTALL)
    text = text.replace(".1/.3/.5 79.86/53.67/31.24", "53.67/31.24/-").replace(
        "47.04, R@5 84.57", "-/47.04/- | -/84.57/-"
    )
    number, parts = r"(?:-|\d+\.\d+)", {}
    parts["charades"], parts["activitynet"] = text.split("Charades-STA — ")[1].split("ActivityNet Captions — ")
    for name, part in parts.items():
        rows = published_rows(PUBLISHED / f"{name}.csv")
        there = {
            tuple(row.sets["raw"][f"R@{top},IoU={threshold}"] for top in (1, 5) for threshold in (0.3, 0.5, 0.7))
            for row in rows
        }
        there |= {(*own[:3], None, None, None) for own in there} | {(None, *own[1:]) for own in there}
        found = re.findall(rf"(?<![\d.])({number}(?:/{number}){{1,2}})(?:\s+\|\s+({number}/{number}/{number}))?", part)
        assert len(found) >= 10
        for recalls in found:
            cells = [cell for own in recalls for cell in ("-/" * (2 - own.count("/")) + (own or "-")).split("/")]
            assert tuple(None if cell == "-" else float(cell) for cell in cells) in there, recalls


def test_splits_and_miou_of_the_further_rows():
    """By hand from ../shared/reference/published.md, whose ActivityNet rows are of different splits."""
    rows = [row for row in published_rows(PUBLISHED / "activitynet.csv") if not row.source.startswith("Yu")]
    assert [(row.method, row.split) for row in rows] == [
        ("CTRL", "val_2"),
        ("MLVI", "val_1+val_2"),
        ("MLVI", "val_2"),
        ("TripNet", "not named"),
        ("ExCL", "val_1"),
        ("VSLNet", "val_1"),
        ("DRN", "val_1"),
        ("DRN", "val_2"),
        ("2D-TAN (pool)", "val_2"),
        ("2D-TAN (conv)", "val_2"),
        ("LGI", "val_1+val_2"),
        ("SnAG", "not named"),
        ("SCN", "val_2"),
        ("CPL", "not named"),
    ]
    rows += published_rows(PUBLISHED / "charades.csv")
    assert [(row.method, row.scores["mIoU"]) for row in rows if row.scores["mIoU"] is not None] == [
        ("LGI", 41.48),
        ("VSLNet", 45.15),  # with features as ours, from a secondary list
        ("VSLNet", 50.02),
        ("LGI", 50.93),
        ("UniVTG (pre-trained)", 52.17),
    ]


def test_what_was_not_trained_has_no_scores_no_bold_and_no_effects(tmp_path):
    untrained = {"trained": False, "hits": (1, 2, 0, 1, 2)}
    metrics = [
        _metrics(tmp_path, seed=seed, method=method, **untrained) for seed in (0, 1) for method in ("ci_mha", "mha")
    ]
    rows, text = _table(tmp_path, metrics, baselines=[_baselines(tmp_path)])
    network = next(row for row in rows if row["method"] == "CI-MHA")
    assert network["R1@0.5"] == network["mIoU"] == network["R1@0.5_std"] == network["R5@0.5_clamped"] == ""
    assert "**No result**: the networks learned nothing (no training video has features)." in text
    assert "**" not in text.replace("**No result**", "")
    assert "## Effects" not in text and "## Chosen epochs" not in text
    # Answers without training make no result of it.
    assert "**No result**" in _table(tmp_path, [*metrics, _metrics(tmp_path, method="kinetics_zero_shot", run=None)])[1]
    # One that was trained is the best of its split, whatever the others say.
    _, text = _table(tmp_path, [*metrics, _metrics(tmp_path, method="lgi", value=1.0)])
    assert "**Not all are results**: 2 of 3 rows" in text and "**" in text.replace("**Not all are results**", "")


def test_networks_that_saw_next_to_nothing_have_scores_but_are_no_result(tmp_path):
    few = [_metrics(tmp_path, method=method, run={"counts": {"training_queries": 99}}) for method in ("ci_mha", "mha")]
    rows, text = _table(tmp_path, few)
    assert rows[0]["mIoU"] and "trained on 99 sentences, too few to learn from" in text
    assert "**" not in text.replace("**No result**", "") and "## Effects" not in text
    enough = [_metrics(tmp_path, run={"counts": {"training_queries": 100}})]
    assert "No result" not in _table(tmp_path, enough)[1]


def test_latex_has_the_rows_of_the_table(tmp_path):
    published = tmp_path / "published.csv"
    published.write_text(
        'method,features,source,split,R1@0.7,R1@0.5,R1@0.3,mIoU,note\nR&D_net,C3D,"A, B",test,10.5,,30,,\n'
    )
    metrics = [_metrics(tmp_path, seed=seed, value=value) for seed, value in ((0, 30.0), (1, 34.0))]
    _table(tmp_path, metrics, published=published, output_tex=tmp_path / "t.tex", title="Toy_data")
    lines = (tmp_path / "t.tex").read_text().splitlines()
    assert lines[3:7] == [
        r"\caption{Moment retrieval on Toy\_data. Mean and standard deviation over seeds.}",
        r"\label{tab:toy}",
        r"\begin{tabular}{llrrrr}",
        r"\toprule",
    ]
    assert lines[7:] == [
        r"Method & Features & R1@0.7 & R1@0.5 & R1@0.3 & mIoU \\",
        r"\midrule",
        r"\multicolumn{6}{l}{\emph{Published}} \\",
        r"R\&D\_net & C3D & 10.50 & -- & 30.00 & -- \\ % A, B",
        r"\midrule",
        r"\multicolumn{6}{l}{\emph{Span regression and boundaries}} \\",
        r"CI-MHA & i3d, stride 8 & "
        + " & ".join(
            rf"\textbf{{{32.0 + list(METRICS).index(name):.2f} $\pm$ 2.83}}"
            for name in ("R@1,IoU=0.7", "R@1,IoU=0.5", "R@1,IoU=0.3", "mIoU")
        )
        + r" \\ % computed here; alignment: attention",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_answers_without_training_have_a_row_of_their_own_block(tmp_path):
    untrained = _metrics(tmp_path, method="kinetics_zero_shot", value=12.0, run=None, train_split=None, alignment=None)
    metrics = [_metrics(tmp_path, train_split="train"), untrained]
    rows, text = _table(tmp_path, metrics, baselines=[_baselines(tmp_path)])
    row = next(row for row in rows if row["method"] == "Kinetics zero-shot")
    assert (row["block"], row["source"], row["seeds"]) == ("zero-shot", "computed here; no training", "")
    blocks = [row["block"] for row in rows]
    assert blocks[-2:] == ["zero-shot", "span regression and boundaries"]
    assert "trained on" not in text  # one training split; the other row has none
    assert "Kinetics zero-shot (i3d, stride 8, test) knows 400 actions and nothing of this data." in text
