"""Rows of the table: published figures and baselines; `table_runs` has those of trained methods."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmr.annotations.few import LEAST_SENTENCES
from vmr.errors import EvaluationError
from vmr.evaluation.bootstrap import VideoSums, read_video_scores
from vmr.evaluation.evaluate import read_scores
from vmr.evaluation.metrics import METRICS, THRESHOLDS, recall_name
from vmr.evaluation.simulated import is_simulated
from vmr.methods.catalogue import block_of, with_rows
from vmr.methods.entry import BLOCKS, Method

SCORE_COLUMNS = {
    "R1@0.7": recall_name(1, 0.7),
    "R1@0.5": recall_name(1, 0.5),
    "R1@0.3": recall_name(1, 0.3),
    "mIoU": "mIoU",
}
R5_COLUMNS = {f"R5@{threshold}": recall_name(5, threshold) for threshold in reversed(THRESHOLDS)}
_PUBLISHED_NEEDED = ["method", "features", "source", "split", *SCORE_COLUMNS, "note"]
PUBLISHED_COLUMNS = [*_PUBLISHED_NEEDED[:-1], *R5_COLUMNS, "block", "note"]
# The window that is best at IoU 0.5 and the one that is best on average; the others are told below the table.
HEADLINE_CRITERIA = (recall_name(1, 0.5), "mIoU")
COLUMN_OF = {metric: column for column, metric in SCORE_COLUMNS.items()}


@dataclass(frozen=True)
class Row:
    """One row of the table; scores in percent by name of `METRICS`, None or missing where unknown."""

    method: str
    features: str
    source: str
    split: str
    kind: str  # "published", "baseline" or "trained"
    sets: dict[str, dict[str, float | None]]  # means by "raw", "clamped", "raw_covered", ...
    std: dict[str, float | None] = field(default_factory=dict)
    seeds: int | None = None
    queries: int | None = None
    coverage: float | None = None
    note: str = ""
    published_block: str = ""  # of a published row, where it should not stand among the others
    headline: bool = True  # False: only told below the table
    criteria: tuple[str, ...] = ()  # what a constant window was chosen by
    window: str = ""
    videos: VideoSums | None = None  # sums by video, means over the seeds
    members: tuple[dict[str, Any], ...] = ()  # the metrics.json, or the baseline's file
    train_split: str = ""  # what a trained row was trained on, "" where unknown
    simulated: bool = False  # its features are no features of videos

    @property
    def scores(self) -> dict[str, float | None]:
        """Those against the ground truth as annotated."""
        return self.sets.get("raw", {})

    @property
    def block(self) -> str:
        """Under which head it stands in tables and pictures."""
        if self.kind == "published":
            return f"published, {self.published_block}" if self.published_block else "published"
        if self.kind == "baseline":
            return "baselines"
        return block_of(str(self.members[0]["method"]))

    @property
    def is_untrained(self) -> bool:
        """Whether its networks are as they were drawn, so that it has no scores."""
        return self.kind == "trained" and not self.members[0].get("trained", True)

    @property
    def trained_on(self) -> int | None:
        """Sentences that its networks were trained on; None where no record says."""
        counts = (self.members[0].get("run") or {}).get("counts") or {} if self.kind == "trained" else {}
        return counts.get("training_queries")

    @property
    def is_result(self) -> bool:
        """Whether its networks can have learned something: they were trained, and not on next to nothing."""
        number = self.trained_on
        few = number is not None and number < LEAST_SENTENCES
        return self.is_of_networks and not self.is_untrained and not few

    @property
    def is_of_networks(self) -> bool:
        """Whether it is of networks that can learn, as zero-shot answers are not."""
        return self.kind == "trained" and self.block != "zero-shot"

    @property
    def entry(self) -> Method | None:
        """What the catalogue says of a method; None for other rows, and for other systems' predictions."""
        return with_rows().get(str(self.members[0]["method"])) if self.kind == "trained" else None


def best_scores(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """The best score that was computed here, by split and metric, in two decimals.

    A split on which nothing can have learned has none: a constant window is no achievement.
    """
    headline = [row for row in rows if row.headline and row.kind != "published"]
    splits = {row.split for row in headline if row.is_result}
    found: dict[tuple[str, str], float] = {}
    for row in headline:
        for metric in SCORE_COLUMNS.values() if row.split in splits else ():
            if (value := row.scores.get(metric)) is not None:
                found[row.split, metric] = max(found.get((row.split, metric), 0.0), round(value, 2))
    return found


def is_best(row: Row, metric: str, best: Mapping[tuple[str, str], float]) -> bool:
    """Whether a row was computed here and has the best score of its split."""
    value = row.scores.get(metric)
    return row.kind != "published" and value is not None and round(value, 2) == best.get((row.split, metric))


def published_rows(path: Path) -> list[Row]:
    """Rows of a CSV of published figures, as printed.

    Args:
        path: CSV with the columns `PUBLISHED_COLUMNS`, of which R@5 and the block may be missing; an empty score was
            not printed.

    Raises:
        EvaluationError: the file is missing, has other columns, or a score is not a percentage.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            records = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path}: the published figures cannot be read ({error}).") from error
    columns = list(reader.fieldnames or [])
    if not set(_PUBLISHED_NEEDED) <= set(columns) <= set(PUBLISHED_COLUMNS) or len(set(columns)) < len(columns):
        raise EvaluationError(f"{path}: expected the columns {','.join(PUBLISHED_COLUMNS)}, found {','.join(columns)}.")
    rows = []
    for number, record in enumerate(records, start=2):
        if None in record or None in record.values():
            raise EvaluationError(f"{path}: row {number} has not {len(columns)} fields; quote commas.")
        if record.get("block", "") not in ("", *BLOCKS):
            raise EvaluationError(
                f"{path}: row {number}: expected nothing or one of {', '.join(BLOCKS)} as block, found "
                f"{record['block']!r}."
            )
        scores = {
            metric: _percentage(record[column], where=f"{path}: row {number}: {column}")
            for column, metric in (SCORE_COLUMNS | R5_COLUMNS).items()
            if column in columns
        }
        rows.append(
            Row(
                method=record["method"],
                features=record["features"],
                source=record["source"],
                split=record["split"],
                kind="published",
                sets={"raw": scores},
                note=record["note"],
                published_block=record.get("block", ""),
                simulated=is_simulated(record),
            )
        )
    return rows


def baseline_rows(paths: Sequence[Path]) -> list[Row]:
    """The random row and the constant windows of each split, as `compute_baselines` wrote them.

    Raises:
        EvaluationError: a file is missing or no such record.
    """
    rows = []
    for path in paths:
        record = read_scores(path, needed=("split", "train_split", "training_queries", "grid_step", "queries", "rows"))
        videos = videos_of(record)
        if not isinstance(record["rows"], list):
            raise EvaluationError(f"{path}: `rows` is no list. Compute the baselines again.")
        if videos and len(videos) != len(record["rows"]):
            raise EvaluationError(f"{path}: its scores by video belong to other rows. Compute the baselines again.")
        for number, entry in enumerate(record["rows"]):
            if not _is_baseline(entry):
                raise EvaluationError(
                    f"{path}: row {number + 1}: expected window, criteria and scores, found {entry!r:.80}. Compute the "
                    "baselines again."
                )
            check_scores(entry["scores"], where=f"{path}: row {number + 1}: scores")
            criteria = tuple(entry["criteria"])
            window = "" if entry["window"] is None else "[{:.2f}, {:.2f}]".format(*entry["window"])
            if not window:
                method, source = "Random", "computed here; expected value of two uniform points"
            else:
                method = f"Best constant window {window}"
                chosen = " and ".join(COLUMN_OF[name] for name in criteria)
                source = f"computed here; chosen by {chosen} on {record['train_split']}"
            rows.append(
                Row(
                    method=method,
                    features="none",
                    source=source,
                    split=record["split"],
                    kind="baseline",
                    queries=record["queries"],
                    headline=not window or any(name in criteria for name in HEADLINE_CRITERIA),
                    criteria=criteria,
                    window=window,
                    sets={name: dict(own) for name, own in entry["scores"].items() if own},
                    videos=videos[number] if videos else None,
                    members=(record,),
                )
            )
    return rows


def _is_baseline(entry: Any) -> bool:
    """Whether an entry has a window (start and end, or None for two random points), its criteria and scores."""
    if not isinstance(entry, Mapping) or not {"window", "criteria", "scores"} <= set(entry):
        return False
    window, criteria = entry["window"], entry["criteria"]
    ends = [] if window is None else window
    numbers = isinstance(ends, list) and all(isinstance(end, int | float) for end in ends)
    named = isinstance(criteria, list) and all(isinstance(name, str) and name in COLUMN_OF for name in criteria)
    return numbers and named and (window is None or len(window) == 2)


def check_queries(rows: Iterable[Row]) -> None:
    """Refuse rows of one split that were scored on different numbers of queries.

    Raises:
        EvaluationError: names the two rows, and their files where there are any.
    """
    first: dict[str, Row] = {}
    for row in rows:
        if row.queries is None:
            continue
        other = first.setdefault(row.split, row)
        if other.queries != row.queries:
            raise EvaluationError(
                f"split {row.split}: {_origin(other)} was scored on {other.queries} queries, {_origin(row)} on "
                f"{row.queries}. One of them is stale: evaluate both again from the same annotations."
            )


def _origin(row: Row) -> str:
    path = row.members[0].get("path") if row.members else None
    return f"{row.method} ({path})" if path else row.method


def check_scores(scores: object, *, where: str) -> None:
    """Refuse scores of which the table could not be made.

    Args:
        scores: by kind of ground truth (`raw` and maybe more), None where there are none; of each, every metric.
        where: the file, and the place in it, for the error.

    Raises:
        EvaluationError: `raw` is missing, or a metric of a kind is missing or no percentage.
    """
    if not isinstance(scores, Mapping) or not scores.get("raw"):
        held = ", ".join(map(str, scores)) if isinstance(scores, Mapping) else type(scores).__name__
        raise EvaluationError(f"{where}: expected scores against the ground truth `raw`, found {held}. Evaluate again.")
    for kind, own in scores.items():
        for metric in METRICS if own is not None else ():
            value = own.get(metric) if isinstance(own, Mapping) else None
            if not isinstance(value, int | float) or not 0 <= round(value, 6) <= 100:
                raise EvaluationError(
                    f"{where}: expected a percentage as {kind}.{metric}, found {value!r}. Evaluate again."
                )


def videos_of(record: dict[str, Any]) -> list[VideoSums]:
    """The sums by video that a record of scores points to; nothing where it points to none.

    Raises:
        EvaluationError: the file is missing or not such a table.
    """
    name = record.get("video_scores")
    return read_video_scores(Path(record["path"]).parent / name) if name else []


def _percentage(text: str, *, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise EvaluationError(f"{where}: expected a percentage or nothing, found {text!r}.")
    return value
