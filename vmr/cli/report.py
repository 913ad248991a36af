"""Commands that make the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmr.cli.groups import (
    DatasetName,
    FeaturesLabel,
    Manifests,
    Output,
    command_from_sections,
    hands_to,
    per_shard,
    report_app,
)
from vmr.names import Device
from vmr.settings.assignments import assignments

if TYPE_CHECKING:
    from vmr.cli.sections import DatasetFiles, ReportSettings


def _paths(entries: list[str], option: str) -> dict[str, Path]:
    return {name: Path(path) for name, path in assignments(entries, option).items()}


@command_from_sections(report_app)
@hands_to("vmr.report.cases:study_cases")
def cases(
    *,
    runs: Annotated[list[Path], typer.Option(help="Folders of evaluated runs, one a method.")],
    split_name: Annotated[str, typer.Option(help="Name of the split in tables.")],
    splits: Annotated[list[str], typer.Option(help="Splits that it unites.")],
    files: DatasetFiles,
    frames: Annotated[list[Path], per_shard(help="Frame stores, for film strips.")] = [],  # noqa: B006
    dataset: DatasetName,
    features_label: FeaturesLabel,
    settings: ReportSettings,
    device: Device = "auto",
    output: Output,
) -> None:
    """Choose queries, and gather film strips, spans and probabilities over time of each."""


@report_app.command()
@hands_to("vmr.report.page:make_report", moments=_paths, coverage=_paths)
def page(
    *,
    dataset: DatasetName,
    title: Annotated[str | None, typer.Option(help="What the page calls it.")] = None,
    metrics: Annotated[list[Path], typer.Option(help="metrics.json of each run and split, its other files beside it.")],
    baselines: Annotated[list[Path], typer.Option(help="Baselines of each split.")] = [],  # noqa: B006
    published: Annotated[Path | None, typer.Option(help="CSV of published figures.")] = None,
    table_text: Annotated[Path, typer.Option("--table", help="The readable table (.md).")],
    moments: Annotated[list[str], typer.Option(help="DATASET=moments.csv, once for each dataset of the table.")],
    manifests: Manifests = [],  # noqa: B006
    coverage: Annotated[list[str], typer.Option(help="FEATURES=coverage.csv, for each kind of features.")] = [],  # noqa: B006
    cases: Annotated[list[Path], typer.Option(help="What `vmr report cases` wrote.")] = [],  # noqa: B006
    benchmarks: Annotated[list[Path], typer.Option(help="Benchmark files, patterns or folders of them.")] = [],  # noqa: B006
    output: Output,
    answers: Annotated[Path | None, typer.Option(help="CSV of every query's answers to write beside it.")] = None,
) -> None:
    """Make the page: one HTML file that opens offline."""


@report_app.command()
@hands_to("vmr.pipeline.costs:write_costs")
def costs(
    *,
    benchmarks: Annotated[list[Path], typer.Option(help="Benchmark files, patterns or folders of them.")],
    output: Output,
) -> None:
    """Gather seconds, memory and use of cards of every stage in a CSV."""
