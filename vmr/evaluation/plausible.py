"""Whether answers can be meant for the moments: ids that are counted otherwise, and times that are no seconds."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from vmr.annotations.units import RATES
from vmr.errors import EvaluationError
from vmr.evaluation.ground_truth import GroundTruth
from vmr.model.spans import temporal_iou

# So many answers, all so many times longer or shorter than the truth, are in another unit.
_FEWEST, _APART = 2, 8.0
_GOOD_IOU = 0.2  # mean IoU of answers that are meant for the moments; those of another unit have far less
# Steps a second: features of eight frames at 24 a second, clips of two seconds, segments of five. They are so near to
# seconds that a few wrong answers fit by chance.
_STEPS, _FEWEST_STEPS = (3.0, 0.5, 0.2), 10
# How people count rows whose ids are the numbers of their lines.
_COUNTS = (
    "rows without the header, from 0",
    "rows without the header, from 1",
    "rows of one line each, without blank lines",
)


def ranked_answers(
    truth: GroundTruth, answers: Mapping[str, npt.NDArray[np.float64]], predictions: Path
) -> list[npt.NDArray[np.float64] | None]:
    """The spans of each query that is scored, None where there is no answer.

    Raises:
        EvaluationError: answers cannot be meant for the moments; names the likely count of rows or unit.
    """
    _refuse_other_count(truth, answers, predictions)
    ranked = [answers.get(query_id) for query_id in truth.queries["query_id"]]
    _refuse_other_unit(truth.queries, ranked, predictions)
    return ranked


def _refuse_other_count(truth: GroundTruth, answered: Collection[str], predictions: Path) -> None:
    """Refuse numbers of rows where numbers of lines are meant: they answer the neighbours of what they are meant for.

    Only where one file holds further splits can it pass unseen; then some answers go to those, and all would go to the
    splits that are scored if the rows were counted otherwise.
    """
    known, scored = truth.finder.queries, set(truth.queries["query_id"])
    numbers = {query.query_id: int(query.key) for query in known if query.key.isascii() and query.key.isdigit()}
    if len(set(numbers.values())) < len(known) or any(query.is_named for query in known):
        return
    splits = {query.split for query in known if query.query_id in scored}
    place = {number: row for row, number in enumerate(sorted(numbers.values()))}
    wanted = {place[numbers[query.query_id]] for query in known if query.split in splits}
    given = {numbers[query_id] for query_id in answered}
    strays = sum(place[number] not in wanted for number in given)
    how = next((text for first, text in enumerate(_COUNTS) if {one - first for one in given} <= wanted), None)
    if strays and how:
        raise EvaluationError(
            f"{predictions}: {strays:,} of {len(given):,} answers are to queries of other splits. Counted as {how}, "
            f"all are to {', '.join(sorted(splits))}. An id is the number of its line in the annotation file, from 1. "
            'Count so, or give "video_id" and "sentence" instead.'
        )


def _refuse_other_unit(
    queries: pd.DataFrame, ranked: Sequence[npt.NDArray[np.float64] | None], predictions: Path
) -> None:
    """Refuse times of another unit, which would all be scored as wrong."""
    columns = ["start_sec", "end_sec", "duration_sec"]
    pairs = [
        (row, own[0], float(own[:, 1].max()))
        for row, own in zip(queries[columns].to_numpy(np.float64), ranked, strict=True)
        if own is not None and len(own) and row[1] > 0 and own[:, 1].max() > 0
    ]
    if len(pairs) < _FEWEST:
        return
    rows, first, given = (np.array(own) for own in zip(*pairs, strict=True))
    truth, duration = rows[:, :2], rows[:, 2:]
    ratios = truth[:, 1] / given
    middle = float(np.median(truth[:, 1]))
    differ = len(np.unique(first, axis=0)) > 1
    if (given <= 1.0).all() and middle > _APART and differ:
        raise EvaluationError(
            f"{predictions}: all answers end within the first second, half of the moments after {middle:.1f} s. Are "
            "the answers shares of the video? Seconds are scored."
        )
    if ratios.min() > _APART or ratios.max() < 1 / _APART:
        larger, smaller = ("moments", "answers") if ratios[0] > 1 else ("answers", "moments")
        raise EvaluationError(
            f"{predictions}: the {larger} end {np.median(np.maximum(ratios, 1 / ratios)):,.0f} times as late as the "
            f"{smaller}, every one. Are the {larger} in frame numbers or milliseconds? Seconds are scored."
        )

    def fit(spans: npt.NDArray[np.float64]) -> float:
        return float(np.nan_to_num(temporal_iou(spans, truth)).mean())

    fits = {(f"divided by {rate:g}", "frame numbers"): fit(first / rate) for rate in RATES}
    fits["divided by 1000", "milliseconds"] = fit(first / 1000)
    if len(pairs) >= _FEWEST_STEPS and differ:
        fits |= {(f"divided by {one:g}", f"steps or clips of {1 / one:.3g} s"): fit(first / one) for one in _STEPS}
        fits["times the duration", "shares of the video"] = fit(first * duration)
        fits["as percent of the duration", "percent of the video"] = fit(first * duration / 100)
    (how, unit), best = max(fits.items(), key=lambda own: own[1])
    if best > max(_GOOD_IOU, _APART * fit(first)):
        raise EvaluationError(
            f"{predictions}: the answers miss the moments as they are, and fit them {how} (mean IoU {best:.2f}). Are "
            f"the times {unit}? Seconds are scored."
        )
