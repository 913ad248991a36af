"""Commands that score and gather: baselines and the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import Manifests, Moments, Output, app


@app.command()
def baselines(
    *,
    moments: Moments,
    manifests: Manifests,
    train_split: str = "train",
    splits: Annotated[list[str], typer.Option(help="Splits to unite.")],
    split_name: Annotated[str, typer.Option(help="Name of the union in tables.")],
    seed: int = 0,
    output: Output,
) -> None:
    """Score the baselines that see neither video nor query."""
    from vmr.evaluation.baselines import compute_baselines

    compute_baselines(
        moments=moments,
        manifests=manifests,
        train_split=train_split,
        splits=splits,
        split_name=split_name,
        output=output,
        seed=seed,
    )


@app.command()
def make_table(
    *,
    metrics: Annotated[list[Path], typer.Option(help="metrics.json of each run and split.")],
    baselines: Annotated[list[Path], typer.Option(help="Baselines of each split.")],
    published: Annotated[Path | None, typer.Option(help="CSV of published figures.")] = None,
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")],
    title: Annotated[str | None, typer.Option(help="What the table calls it.")] = None,
    output_csv: Annotated[Path, typer.Option(help="Table to write.")],
    output_md: Annotated[Path, typer.Option(help="The same for reading.")],
) -> None:
    """Gather published, blind and computed rows into the table."""
    from vmr.evaluation.tables import make_table

    make_table(
        metrics=metrics,
        baselines=baselines,
        published=published,
        output_csv=output_csv,
        output_md=output_md,
        dataset=dataset,
        title=title,
    )
