"""`vmr evaluate`: score the predictions of any system against annotation files, and print what came out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vmr.errors import EvaluationError
from vmr.evaluation.average_precision import AP_METRICS, average_precisions
from vmr.evaluation.bootstrap import RESAMPLES, confidence_by_video, sum_by_video
from vmr.evaluation.ground_truth import load_ground_truth
from vmr.evaluation.metrics import METRICS, TRUTHS, query_scores, score_sets, truth_spans
from vmr.evaluation.plausible import ranked_answers
from vmr.evaluation.predictions import KINDS, faults_of, parse_predictions, refuse_bad_lines
from vmr.storage.code_digest import code_digest
from vmr.storage.files import sha256_file, write_json
from vmr.storage.provenance import library_versions

_LOG = logging.getLogger(__name__)
_CODE = ("vmr.evaluation.standalone",)
_SHOWN = 20  # faults of a kind that are logged one by one
_METRICS = (*METRICS, *AP_METRICS)


def evaluate_file(
    *,
    predictions: Path,
    annotations: Sequence[str],
    annotation_format: str = "auto",
    durations: Sequence[Path] = (),
    splits: Sequence[str] = (),
    skip_bad_lines: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    output: Path | None = None,
) -> str:
    """Score predictions as docs/predictions.md says: R@1, R@5, mIoU and mAP with 95 % intervals by video.

    Needs the annotations and nothing else of the pipeline. A query that is not answered is wrong.

    Args:
        skip_bad_lines: leave bad lines out, log and count them, instead of refusing the file. Lines that contradict
            the annotations still refuse it: then others most likely answer the wrong query.
        output: JSON to write: counts, scores, intervals, and what was read.

    Raises:
        EvaluationError: a line of the predictions cannot be used, or the queries are not clear.
        AnnotationError: an annotation file is missing or not in its format.
    """
    truth = load_ground_truth(annotations, annotation_format=annotation_format, durations=durations, splits=splits)
    given = parse_predictions(predictions, finder=truth.finder)
    if not given.lines:
        raise EvaluationError(f"{predictions}: is empty; a line for each answer was expected. Make or copy it again.")
    refuse_bad_lines(given, kinds=("contradiction",) if skip_bad_lines else KINDS)
    for fault in faults_of(given.bad)[:_SHOWN]:
        _LOG.warning("left out, %s: %s", fault.first.kind, fault)
    if given.by_score:
        _LOG.warning(
            "%s: %d answers are not in the order of their scores: R@n takes the order of the file, mAP the scores",
            predictions,
            len(given.by_score),
        )
    for problem in [*truth.malformed[:_SHOWN], *truth.bad_durations[:_SHOWN]]:
        _LOG.warning("%s: left out: %s", problem.where, problem.reason)
    queries = truth.queries
    ranked = ranked_answers(truth, given.answers, predictions)
    answered_mask = np.array([own is not None for own in ranked])
    by_score = [given.by_score.get(query_id, own) for query_id, own in zip(queries["query_id"], ranked, strict=True)]
    values: dict[str, npt.NDArray[np.float64]] = {}
    truths = truth_spans(queries)
    for name, spans in truths.items():
        # Where no duration is known, nothing is clamped.
        same = next((own for own in values if np.array_equal(truths[own], spans, equal_nan=True)), None)
        values[name] = (
            values[same]
            if same
            else np.concatenate([query_scores(ranked, truth=spans), average_precisions(by_score, truth=spans)], axis=1)
        )
    videos = sum_by_video(values, video_ids=queries["video_id"].tolist(), covered_mask=answered_mask)
    unknown = int(queries["duration_sec"].isna().sum())
    result: dict[str, Any] = {
        "predictions": {"file": str(predictions), "sha256": sha256_file(predictions), "lines": given.lines},
        "annotations": truth.facts,
        "bad_durations": len(truth.bad_durations),
        "splits": list(dict.fromkeys(queries["split"])),
        "queries": len(queries),
        "videos": len(videos.video_ids),
        "answered": int(answered_mask.sum()),
        "missing": int((~answered_mask).sum()),
        "coverage": 100.0 * float(answered_mask.mean()),
        "answered_videos": int(videos.covered_mask.sum()),
        **given.counts(),
        "not_scored": given.not_scored,
        "other_splits": len(given.answers) - int(answered_mask.sum()),
        "unknown_duration": unknown,
        "scores": score_sets(values, covered_mask=None, metrics=_METRICS),
        "confidence": confidence_by_video(videos, seed=seed, resamples=resamples, metrics=_METRICS),
        "provenance": {"code": code_digest(_CODE), "versions": library_versions(["numpy", "pandas", "vmr"])},
    }
    if output is not None:
        write_json(output, result)
    return _text(result)


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['predictions']['file']} against {', '.join(fact['file'] for fact in result['annotations'])}",
        "",
        f"queries    {result['queries']:,} in {result['videos']:,} videos",
        f"answered   {result['answered']:,} in {result['answered_videos']:,} videos, coverage "
        f"{result['coverage']:.2f} %",
        f"missing    {result['missing']:,}, counted as wrong",
        f"bad lines  {result['malformed']:,} malformed, {result['duplicate']:,} duplicate, "
        f"{result['unknown']:,} of unknown or unclear queries",
    ]
    lines += _left_out(result)
    if result["not_scored"]:
        lines.append(f"left aside {result['not_scored']:,} answers to moments that end where they start, or before")
    if result["other_splits"]:
        lines.append(f"left aside {result['other_splits']:,} answers to queries of other splits")
    confidence = result["confidence"] or {}
    # Where nobody knows a duration, nothing is clamped and the column would only repeat the other.
    truths = [name for name in TRUTHS if name == "raw" or result["unknown_duration"] < result["queries"]]
    lines += ["", f"{'percent':12}" + "".join(f"{name + ' truth':>24}" for name in truths)]
    for metric in _METRICS:
        cells = []
        for name in truths:
            text = f"{result['scores'][name][metric]:.2f}"
            if name in confidence:
                text += " [{:5.2f}, {:5.2f}]".format(*confidence[name][metric])
            cells.append(f"{text:>24}")
        lines.append(f"{metric.replace(',', ' '):12}" + "".join(cells))
    if not confidence:
        lines += ["", "No intervals: they need the scores of at least two videos."]
    else:
        lines += [
            "",
            f"In brackets: {100 * confidence['level']:g} % percentile bootstrap intervals, whole videos drawn again, "
            f"{confidence['resamples']:,} resamples, seed {confidence['seed']}.",
        ]
    if len(truths) > 1:
        text = "Clamped truth: moments are cut to the duration of their video"
        if result["unknown_duration"]:
            text += f"; {result['unknown_duration']:,} queries of videos of unknown duration are as annotated"
        lines.append(text + ".")
    return "\n".join(lines) + "\n"


def _left_out(result: dict[str, Any]) -> list[str]:
    """What of the annotations is not scored, a line each; answers to it find nothing, or are left aside."""
    facts = result["annotations"]
    counts = {
        "malformed entries of the annotations": sum(fact.get("malformed", 0) for fact in facts),
        "moments that end where they start, or before": sum(fact.get("not_scored", 0) for fact in facts),
        "rows of durations that cannot be used": result["bad_durations"],
    }
    return [f"left out   {count:,} {what}" for what, count in counts.items() if count]
