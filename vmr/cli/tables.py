"""Commands that score and gather: anybody's predictions, baselines and the table."""

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import (
    RUN,
    STAGES,
    DatasetName,
    Manifests,
    Moments,
    Output,
    SplitName,
    Splits,
    TrainSplit,
    VideoScores,
    app,
    hands_to,
)
from vmr.names import TruthFormat


@app.command(rich_help_panel=STAGES)
@hands_to("vmr.evaluation.baselines:compute_baselines")
def baselines(
    *,
    moments: Moments,
    manifests: Manifests = [],  # noqa: B006
    train_split: TrainSplit = "train",
    splits: Splits,
    split_name: SplitName,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    video_scores: VideoScores,
    output: Output,
) -> None:
    """Score the baselines that see neither video nor query."""


def _annotated(annotations: list[str]) -> list[str]:
    """The files of FILE or split=FILE, whichever is meant."""
    return [*annotations, *(entry.partition("=")[2] for entry in annotations)]


@app.command(rich_help_panel=RUN)
@hands_to(
    "vmr.evaluation.standalone:evaluate_file",
    reads=lambda predictions, durations, annotations, **_: [predictions, *durations, *_annotated(annotations)],
)
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="JSON lines, one a query; docs/predictions.md has the format.")],
    *,
    annotations: Annotated[list[str], typer.Option(help="FILE or split=FILE; repeat it for several files.")],
    annotation_format: Annotated[TruthFormat, typer.Option(help="auto: told by the content of each file.")] = "auto",
    durations: Annotated[list[Path], typer.Option(help="CSV with id and length (s), for clamped truth.")] = [],  # noqa: B006
    splits: Annotated[list[str], typer.Option(help="Splits to score, where the files hold more.")] = [],  # noqa: B006
    skip_bad_lines: Annotated[bool, typer.Option(help="Leave bad lines out and count them, not refuse.")] = False,
    resamples: Annotated[int, typer.Option(min=100, max=20_000, help="Draws of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    output: Annotated[Path | None, typer.Option("--json", help="Write the same as JSON.")] = None,
) -> None:
    """Score the predictions of any system: R@1, R@5, mIoU with intervals by video. Needs annotations only."""


@app.command(rich_help_panel=RUN)
@hands_to(
    "vmr.evaluation.compare:compare",
    reads=lambda first, second, annotations, **_: [first, second, *_annotated(annotations)],
)
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Predictions, or the folder of a run or of a method.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same of what is compared with it.")],
    *,
    annotations: Annotated[list[str], typer.Option(help="FILE or split=FILE; needless for runs of the workflow.")] = [],  # noqa: B006
    splits: Annotated[list[str], typer.Option(help="Splits to score, where the files hold more.")] = [],  # noqa: B006
    split_name: Annotated[str | None, typer.Option(help="Split of the table, where runs have several.")] = None,
    changed: Annotated[int, typer.Option(min=0, help="Queries that changed most to show, each way.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    output: Annotated[Path | None, typer.Option("--json", help="Write the same, and every query, as JSON.")] = None,
) -> None:
    """Compare two results on the same queries: differences with paired intervals, queries that changed most."""


@app.command(rich_help_panel=STAGES)
@hands_to("vmr.tables.make:make_table")
def make_table(
    *,
    metrics: Annotated[list[Path], typer.Option(help="metrics.json of each run and split.")],
    baselines: Annotated[list[Path], typer.Option(help="Baselines of each split.")],
    published: Annotated[Path | None, typer.Option(help="CSV of published figures.")] = None,
    dataset: DatasetName,
    further: Annotated[list[str], typer.Option(help="Datasets whose rows are in the table too.")] = [],  # noqa: B006
    title: Annotated[str | None, typer.Option(help="What the table calls it.")] = None,
    output_csv: Annotated[Path, typer.Option(help="Table to write.")],
    output_md: Annotated[Path, typer.Option(help="The same for reading.")],
    output_tex: Annotated[Path | None, typer.Option(help="The same in LaTeX, with booktabs.")] = None,
) -> None:
    """Gather published, blind and computed rows into the table."""
