"""The table of a dataset: published figures first, then what was computed here, as CSV, Markdown and LaTeX."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from vmr.errors import EvaluationError
from vmr.methods.catalogue import place_of
from vmr.storage.files import write_text
from vmr.tables.latex import latex_table
from vmr.tables.notes import plain_number
from vmr.tables.rows import R5_COLUMNS, SCORE_COLUMNS, Row, baseline_rows, check_queries, published_rows
from vmr.tables.runs import trained_rows
from vmr.tables.text import table_text

# R@5, and all scores against moments that are cut to their video: kind of ground truth and metric of each.
FURTHER_COLUMNS = {
    f"{name}{'' if truth == 'raw' else '_clamped'}": (truth, metric)
    for truth, columns in (("raw", R5_COLUMNS), ("clamped", SCORE_COLUMNS | R5_COLUMNS))
    for name, metric in columns.items()
}
TABLE_COLUMNS = [
    *("method", "features", "source", "split"),
    *SCORE_COLUMNS,
    *(f"{column}_std" for column in SCORE_COLUMNS),
    *("seeds", "queries", "coverage"),
    *FURTHER_COLUMNS,
    *("block", *(f"oracle_{column}" for column in SCORE_COLUMNS)),
]


def make_table(
    *,
    metrics: list[Path],
    baselines: list[Path],
    published: Path | None,
    output_csv: Path,
    output_md: Path,
    output_tex: Path | None = None,
    dataset: str,
    further: Sequence[str] = (),
    title: str | None = None,
) -> None:
    """Write the table, see `gather_rows` for errors.

    The CSV has the columns `TABLE_COLUMNS`, percentages with two decimals, empty where unknown. Scores are over all
    queries, against raw ground truth where the column does not say clamped. The Markdown adds the ablation's effects,
    intervals over videos, the covered subset, the chosen epochs, and notes. What needs scores by video is left out
    where the records point to none.

    Args:
        metrics: metrics.json of every method, seed and split.
        baselines: JSON of `compute_baselines`, one a split.
        published: CSV of published figures; None for a dataset without any.
        further: datasets whose splits are in the table too, such as out-of-distribution splits of the same videos.
        output_tex: LaTeX of the same rows to write, if wanted.
        title: what the Markdown calls it; by default its name.
    """
    rows = gather_rows(metrics=metrics, baselines=baselines, published=published, datasets=[dataset, *further])
    write_text(output_csv, table_csv(rows))
    write_text(output_md, table_text(rows, dataset=title or dataset))
    if output_tex is not None:
        write_text(output_tex, latex_table(rows, dataset=dataset, title=title or dataset))


def table_csv(rows: Sequence[Row]) -> str:
    """The rows with the columns `TABLE_COLUMNS`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TABLE_COLUMNS)
    writer.writerows(_cells(row) for row in rows if row.headline)
    return text.getvalue()


def gather_rows(
    *, metrics: Sequence[Path], baselines: Sequence[Path], published: Path | None, datasets: Sequence[str]
) -> list[Row]:
    """The rows of a table in their order: published ones, then split by split baselines and methods.

    Raises:
        EvaluationError: a file cannot be used, or scores that should be averaged do not belong together.
    """
    printed = [] if published is None else published_rows(published)
    computed = [*baseline_rows(baselines), *trained_rows(metrics, datasets=datasets)]
    simulated = next((row for row in computed if row.simulated), None)
    if printed and simulated is not None:
        raise EvaluationError(
            f"{published}: figures of real features do not belong beside simulated ones, as {simulated.features} are "
            f"in {simulated.members[0]['path']}. Leave out the published file."
        )
    check_queries(computed)
    return [*sorted(printed, key=lambda row: row.published_block), *_ordered(computed)]


def _ordered(rows: list[Row]) -> list[Row]:
    """Split by split, in the order they came; in each constant answers, then methods by block as in the catalogue."""
    ranked = sorted(rows, key=lambda row: (row.kind == "trained", place_of(str(row.members[0].get("method")))))
    return [row for split in dict.fromkeys(row.split for row in rows) for row in ranked if row.split == split]


def _cells(row: Row) -> list[str]:
    scores = [plain_number(row.scores.get(metric)) for metric in SCORE_COLUMNS.values()]
    spread = [plain_number(row.std.get(metric)) for metric in SCORE_COLUMNS.values()]
    counts = ["" if count is None else str(count) for count in (row.seeds, row.queries)]
    further = [plain_number(row.sets.get(truth, {}).get(metric)) for truth, metric in FURTHER_COLUMNS.values()]
    oracle = [plain_number(row.sets.get("oracle", {}).get(metric)) for metric in SCORE_COLUMNS.values()]
    named = [row.method, row.features, row.source, row.split]
    return [*named, *scores, *spread, *counts, plain_number(row.coverage), *further, row.block, *oracle]
