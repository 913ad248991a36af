"""Commands that take up a dataset of one's own, and check a dataset before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmr.cli.groups import (
    DATA,
    STAGES,
    Dataset,
    Manifests,
    Moments,
    Output,
    TrainSplit,
    app,
    command_from_sections,
    hands_to,
)

if TYPE_CHECKING:
    from vmr.cli.sections import Fields, QuerySettings, VideoSettings


@app.command(rich_help_panel=DATA)
@hands_to("vmr.doctor.new_dataset:add_dataset")
def add_dataset(
    name: Annotated[str, typer.Argument(help="Name of the dataset, in paths and commands.")],
    *,
    videos: Annotated[Path, typer.Option(help="Folder of the video files.")],
    sentences: Annotated[
        Path, typer.Option("--csv", help="CSV with the columns video, start, end, sentence; maybe split.")
    ],
    title: Annotated[str | None, typer.Option(help="Name in tables.")] = None,
    quick: Annotated[bool, typer.Option(help="The demo's settings: for few sentences, or without a GPU.")] = False,
    config: Annotated[Path, typer.Option(help="The YAML file to add it to.")] = Path("config.yaml"),
) -> None:
    """Add a folder of videos and a CSV of sentences to the configuration, and say what does not fit."""


@app.command(rich_help_panel=DATA)
def doctor(
    dataset: Dataset,
    *,
    config: Annotated[Path, typer.Option(help="The YAML file.")] = Path("config.yaml"),
    work: Annotated[Path, typer.Option(help="Folder of what the workflow has made.")] = Path("work"),
) -> None:
    """Check a dataset before training: annotations, videos, features. Exit code 1 when something is wrong."""
    from vmr.config import read_config
    from vmr.doctor.examine import examine
    from vmr.doctor.findings import findings_table

    findings = examine(read_config(config), dataset, work=work)
    typer.echo(findings_table(findings))
    wrong = [finding.check for finding in findings if finding.level == "wrong"]
    typer.echo(f"\n{dataset}: " + (f"{len(wrong)} checks found something wrong." if wrong else "nothing is wrong."))
    if wrong:
        raise typer.Exit(1)


@command_from_sections(app, rich_help_panel=STAGES)
@hands_to("vmr.doctor.check_dataset:check_dataset")
def check_dataset(
    *,
    moments: Moments,
    report: Annotated[Path, typer.Option(help="JSON that `parse-annotations` wrote beside it.")],
    vectors: Annotated[Path | None, typer.Option(help="Word vectors, to look at the sentences.")] = None,
    features: Annotated[Path | None, typer.Option(help="Merged features, to look at them and the videos.")] = None,
    manifests: Manifests = [],  # noqa: B006
    train_split: TrainSplit = "train",
    test_splits: Annotated[list[str], typer.Option(help="Splits that are scored.")],
    queries: Annotated[QuerySettings, Fields("max_words")],
    video: Annotated[VideoSettings, Fields("fps")],
    accept_wrong: Annotated[bool, typer.Option(help="Go on where something is wrong.")] = False,
    output: Output,
) -> None:
    """Check the files of a run before training, and stop where something is wrong (see `doctor`)."""
