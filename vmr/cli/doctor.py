"""Commands that take up a dataset of one's own, and check a dataset before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import app


@app.command()
def add_dataset(
    name: Annotated[str, typer.Argument(help="Name of the dataset, in paths and commands.")],
    *,
    videos: Annotated[Path, typer.Option(help="Folder of the video files.")],
    csv: Annotated[Path, typer.Option(help="CSV with the columns video, start, end, sentence; maybe split.")],
    title: Annotated[str | None, typer.Option(help="Name in tables.")] = None,
    quick: Annotated[bool, typer.Option(help="The demo's settings: for few sentences, or without a GPU.")] = False,
    config: Annotated[Path, typer.Option(help="The YAML file to add it to.")] = Path("config.yaml"),
) -> None:
    """Add a folder of videos and a CSV of sentences to the configuration, and say what does not fit."""
    from vmr.doctor.new_dataset import add_dataset

    typer.echo(add_dataset(name, videos=videos, sentences=csv, config=config, title=title, quick=quick))


@app.command()
def doctor(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset in the configuration.")],
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
