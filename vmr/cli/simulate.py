"""The command that simulates features, for trials without any video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import Moments, app, assignment
from vmr.errors import ConfigError


@app.command()
def simulate(
    *,
    moments: Moments,
    annotations: Annotated[list[str], typer.Option(help="split=FILE to write, for each split to take.")],
    durations: Annotated[Path, typer.Option(help="CSV of durations to write.")],
    features: Annotated[Path, typer.Option(help="HDF5 of features to write.")],
    videos: Annotated[list[str], typer.Option(help="split=NUMBER of videos; all of a split not named.")] = [],  # noqa: B006
    seed: int = 0,
    dim: int = 1024,
    rank: Annotated[int, typer.Option(help="Length of the hidden space of words and noise.")] = 64,
    fps: float = 24.0,
    stride: int = 8,
    window: int = 64,
    strength: Annotated[float, typer.Option(help="Length of a moment's meaning in the hidden space.")] = 2.5,
    noise: Annotated[list[float], typer.Option(help="Levels of the noise; one for each video.")] = [0.25, 0.5, 0.75],  # noqa: B006
    scene: Annotated[float, typer.Option(help="Spread of what all steps of a video share.")] = 0.5,
    jitter: Annotated[float, typer.Option(help="Spread of planted boundaries, share of the length.")] = 0.15,
    word_share: Annotated[float, typer.Option(help="Chance that a content word can be seen.")] = 0.8,
    distractors: Annotated[int, typer.Option(help="Moments a video that show words elsewhere.")] = 2,
) -> None:
    """Simulate features in which sentences are planted; label what is made of them as simulated."""
    from vmr.simulation.planting import Recipe
    from vmr.simulation.simulate import simulate_features

    numbers: dict[str, int] = {}
    for entry in videos:
        split, value = assignment(entry, "--videos")
        if not value.isdecimal() or not int(value):
            raise ConfigError(f"--videos {entry}: expected a number of videos of at least 1.")
        numbers[split] = int(value)
    simulate_features(
        moments=moments,
        annotations={
            split: Path(value) for split, value in (assignment(entry, "--annotations") for entry in annotations)
        },
        durations=durations,
        features=features,
        videos=numbers,
        recipe=Recipe(
            seed=seed,
            dim=dim,
            rank=rank,
            fps=fps,
            stride=stride,
            window=window,
            strength=strength,
            noise=tuple(noise),
            scene=scene,
            jitter=jitter,
            word_share=word_share,
            distractors=distractors,
        ),
    )
