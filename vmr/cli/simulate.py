"""The command that simulates features, for trials without any video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmr.cli.groups import STAGES, Moments, app, command_from_sections
from vmr.errors import ConfigError
from vmr.settings.assignments import assignments

if TYPE_CHECKING:
    from vmr.cli.sections import Recipe


@command_from_sections(app, rich_help_panel=STAGES)
def simulate(
    *,
    moments: Moments,
    annotations: Annotated[list[str], typer.Option(help="split=FILE to write, for each split to take.")],
    durations: Annotated[Path, typer.Option(help="CSV of durations to write.")],
    features: Annotated[Path, typer.Option(help="HDF5 of features to write.")],
    recipe: Recipe,
) -> None:
    """Simulate features in which sentences are planted; label what is made of them as simulated."""
    files = {split: Path(file) for split, file in assignments(annotations, "--annotations").items()}
    if unknown := [split for split in recipe.videos if split not in files]:
        raise ConfigError(
            f"--videos: {', '.join(unknown)} is not among the splits to write ({', '.join(files)}). Give its "
            "--annotations, or leave it out."
        )
    outputs = [*files.values(), durations, features]
    if len(set(outputs)) < len(outputs):
        raise ConfigError(f"two of the files to write are one: {', '.join(map(str, outputs))}. Give each its own name.")

    from vmr.synthetic.simulate import simulate_features

    simulate_features(moments=moments, annotations=files, durations=durations, features=features, recipe=recipe)
