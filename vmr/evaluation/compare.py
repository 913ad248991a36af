"""`vmr compare`: two systems on the same queries, paired: what differs, by how much, and on which queries most."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from vmr.errors import EvaluationError
from vmr.evaluation.bootstrap import intervals, sum_by_video
from vmr.evaluation.evaluate import read_scores
from vmr.evaluation.ground_truth import GroundTruth, load_ground_truth
from vmr.evaluation.metrics import METRICS, query_scores, truth_spans
from vmr.evaluation.plausible import ranked_answers
from vmr.evaluation.predictions import parse_predictions, refuse_bad_lines
from vmr.storage.files import write_json

_MIOU = METRICS.index("mIoU")


@dataclass(frozen=True)
class _Files:
    """The predictions of one side: a file for each seed, and what a result says of its ground truth."""

    predictions: Sequence[Path]
    moments: Path | None = None
    splits: tuple[str, ...] = ()


def compare(
    first: Path,
    second: Path,
    *,
    annotations: Sequence[str] = (),
    splits: Sequence[str] = (),
    split_name: str | None = None,
    changed: int = 10,
    seed: int = 0,
    output: Path | None = None,
) -> str:
    """Compare two systems; the difference is the second's less the first's, mean over seeds.

    Args:
        first: a file of predictions, the folder of a run, or of a method with a run a seed.
        annotations: as `load_ground_truth` takes them; needless where a side is a folder of a run in ``work``.
        output: JSON to write: scores, differences, intervals, and every query's IoU on both sides.

    Raises:
        EvaluationError: predictions are missing or cannot be used, or there is no ground truth.
        AnnotationError: an annotation file is missing or not in its format.
    """
    sides = [_files(path, split_name) for path in (first, second)]
    truth = _truth(sides, annotations, splits)
    spans = truth_spans(truth.queries)["raw"]
    values, answers, missing = [], [], []
    for name, side in zip("AB", sides, strict=True):
        ranked = [_answers(path, truth) for path in side.predictions]
        values.append(np.mean([query_scores(own, truth=spans) for own in ranked], axis=0))
        answers.append(ranked[0])
        missing.append(f"{max(sum(each is None for each in own) for own in ranked):,} in {name}")
    difference = values[1] - values[0]
    videos = sum_by_video({"raw": difference}, video_ids=truth.queries["video_id"].tolist())
    found = intervals(videos.sums["raw"], queries=videos.queries, seed=seed) or {}
    means = [dict(zip(METRICS, (100 * own.mean(axis=0)).tolist(), strict=True)) for own in values]
    apart = dict(zip(METRICS, (100 * difference.mean(axis=0)).tolist(), strict=True))
    rows = _by_query(truth, values, answers)
    if output is not None:
        write_json(
            output,
            {
                "first": str(first),
                "second": str(second),
                "queries": len(difference),
                "videos": len(videos.video_ids),
                "scores": means,
                "differences": apart,
                "intervals": found,
                "by_query": rows,
            },
        )
    lines = [
        *(
            f"{name}: {path}, {f'{len(side.predictions)} seeds' if len(side.predictions) > 1 else 'one run'}"
            for name, path, side in zip("AB", (first, second), sides, strict=True)
        ),
        f"{len(difference):,} queries in {len(videos.video_ids):,} videos; without an answer, and so wrong: "
        + ", ".join(missing),
        "",
        f"{'percent':12}{'A':>8}{'B':>8}{'B - A':>9}   95 % interval",
    ]
    for metric in METRICS:
        interval = "[{:+.2f}, {:+.2f}]".format(*found[metric]) if metric in found else "needs two videos"
        numbers = f"{means[0][metric]:8.2f}{means[1][metric]:8.2f}{apart[metric]:+9.2f}"
        lines.append(f"{metric.replace(',', ' '):12}{numbers}   {interval}")
    lines += [
        "",
        "Paired: the same videos are drawn again for both, whole, seeds as they are. An interval that leaves 0 out is "
        "a difference that other test videos would show, too.",
    ]
    order = sorted(rows, key=lambda row: row["iou"][1] - row["iou"][0])
    for title, part, sign in (("better in B", order[::-1], 1), ("worse in B", order, -1)):
        most = [row for row in part if sign * (row["iou"][1] - row["iou"][0]) > 0][:changed]
        lines += ["", f"{title}, most first:", *map(_line, most)] if most else []
    return "\n".join(lines) + "\n"


def _files(path: Path, split_name: str | None) -> _Files:
    if path.is_file():
        return _Files([path])
    pattern = f"metrics_{split_name or '*'}.json"
    records = sorted(path.glob(pattern)) or sorted(path.glob(f"seed_*/{pattern}"))
    named = {record.stem.removeprefix("metrics_") for record in records}
    if not records:
        found = f"no {pattern} is there" if path.exists() else "there is no such file or folder"
        raise EvaluationError(
            f"{path}: {found}. Name a file of predictions, or the folder of an evaluated run such as "
            "work/demo/runs/i3d/ci_mha/seed_0, or of a method, for all of its seeds."
        )
    if len(named) > 1:
        raise EvaluationError(f"{path}: was scored on {', '.join(sorted(named))}. Name one with --split-name.")
    record = read_scores(records[0], needed=("dataset", "splits"))
    folder = next((above for above in records[0].resolve().parents if above.name == record["dataset"]), None)
    moments = folder / "annotations" / "moments.csv" if folder is not None else None
    (split,) = named
    return _Files(
        [one.with_name(f"predictions_{split}.jsonl") for one in records],
        moments if moments is not None and moments.exists() else None,
        tuple(record["splits"]),
    )


def _truth(sides: Sequence[_Files], annotations: Sequence[str], splits: Sequence[str]) -> GroundTruth:
    if annotations:
        return load_ground_truth(annotations, splits=splits)
    known = {(side.moments, side.splits) for side in sides if side.moments is not None}
    if len(known) != 1:
        raise EvaluationError(
            "which sentences and moments were asked is not clear: "
            + ("the two were scored on different ones" if known else "neither side is a run in a folder `work`")
            + ". Name the annotations with --annotations FILE."
        )
    ((moments, own),) = known
    return load_ground_truth([str(moments)], annotation_format="moments", splits=list(splits or own))


def _answers(path: Path, truth: GroundTruth) -> list[npt.NDArray[np.float64] | None]:
    given = parse_predictions(path, finder=truth.finder)
    refuse_bad_lines(given)
    ranked = ranked_answers(truth, given.answers, path)
    if given.answers and all(own is None for own in ranked):
        raise EvaluationError(
            f"{path}: answers none of the {len(ranked):,} queries that are scored, only some of other splits. Name its "
            "split with --splits, or other predictions."
        )
    return ranked


def _by_query(
    truth: GroundTruth, values: Sequence[Float[np.ndarray, "Q M"]], answers: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    columns = [truth.queries[name] for name in ("query_id", "video_id", "sentence", "start_sec", "end_sec")]
    return [
        {
            "query_id": query_id,
            "video_id": video_id,
            "sentence": sentence,
            "moment": [start, end],
            "iou": [float(own[number, _MIOU]) for own in values],
            "answers": [
                None if own[number] is None or not len(own[number]) else own[number][0].tolist() for own in answers
            ],
        }
        for number, (query_id, video_id, sentence, start, end) in enumerate(zip(*columns, strict=True))
    ]


def _line(row: dict[str, Any]) -> str:
    spans = " -> ".join("none" if own is None else f"{own[0]:.1f} to {own[1]:.1f}" for own in row["answers"])
    start, end = row["moment"]
    iou = " -> ".join(f"{own:.2f}" for own in row["iou"])
    sentence = json.dumps(row["sentence"], ensure_ascii=False)
    return f"  IoU {iou}  {row['video_id']} {sentence} ({start:.1f} to {end:.1f} s; answers {spans})"
