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
    per_shard,
    report_app,
)
from vmr.names import Device
from vmr.settings.assignments import assignments

if TYPE_CHECKING:
    from vmr.cli.sections import DatasetFiles, ReportSettings


@command_from_sections(report_app)
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
    from vmr.report.cases import study_cases

    study_cases(
        runs=runs,
        split_name=split_name,
        splits=splits,
        files=files,
        frames=frames,
        dataset=dataset,
        features_label=features_label,
        output=output,
        settings=settings,
        device=device,
    )


@report_app.command()
def page(
    *,
    dataset: DatasetName,
    title: Annotated[str | None, typer.Option(help="What the page calls it.")] = None,
    metrics: Annotated[list[Path], typer.Option(help="metrics.json of each run and split, its other files beside it.")],
    baselines: Annotated[list[Path], typer.Option(help="Baselines of each split.")] = [],  # noqa: B006
    published: Annotated[Path | None, typer.Option(help="CSV of published figures.")] = None,
    table: Annotated[Path, typer.Option(help="The readable table (.md).")],
    moments: Annotated[list[str], typer.Option(help="DATASET=moments.csv, once for each dataset of the table.")],
    manifests: Manifests = [],  # noqa: B006
    coverage: Annotated[list[str], typer.Option(help="FEATURES=coverage.csv, for each kind of features.")] = [],  # noqa: B006
    cases: Annotated[list[Path], typer.Option(help="What `vmr report cases` wrote.")] = [],  # noqa: B006
    benchmarks: Annotated[list[Path], typer.Option(help="Benchmark files, patterns or folders of them.")] = [],  # noqa: B006
    output: Output,
    answers: Annotated[Path | None, typer.Option(help="CSV of every query's answers to write beside it.")] = None,
) -> None:
    """Make the page: one HTML file that opens offline."""
    from vmr.report.page import make_report

    make_report(
        dataset=dataset,
        title=title or dataset,
        metrics=metrics,
        baselines=baselines,
        published=published,
        table_text=table,
        moments=_paths(moments, "--moments"),
        manifests=manifests,
        coverage=_paths(coverage, "--coverage"),
        cases=cases,
        benchmarks=benchmarks,
        output=output,
        answers=answers,
    )


@report_app.command()
def costs(
    *,
    benchmarks: Annotated[list[Path], typer.Option(help="Benchmark files, patterns or folders of them.")],
    logs: Annotated[list[Path], typer.Option(help="Folder of the logs of each.")] = [],  # noqa: B006
    output: Output,
) -> None:
    """Gather seconds, memory and use of cards of every stage in a CSV."""
    from vmr.pipeline.costs import write_costs

    write_costs(benchmarks, logs=logs, output=output)


def _paths(entries: list[str], option: str) -> dict[str, Path]:
    return {name: Path(path) for name, path in assignments(entries, option).items()}
