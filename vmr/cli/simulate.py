"""The command that simulates features, for trials without any video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vmr.cli.groups import Moments, app
from vmr.config.features import SimulateSettings
from vmr.config.sections import VideoSettings
from vmr.errors import ConfigError
from vmr.settings.checks import validated
from vmr.settings.options import assignments


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
    stride: Annotated[int, typer.Option(min=1, max=10_000, help="Frames between two steps.")] = 8,
    window: int = 64,
    strength: Annotated[float, typer.Option(help="Length of a moment's meaning in the hidden space.")] = 2.5,
    noise: Annotated[list[float], typer.Option(help="Levels of the noise; one for each video.")] = [0.25, 0.5, 0.75],  # noqa: B006
    scene: Annotated[float, typer.Option(help="Spread of what all steps of a video share.")] = 0.5,
    jitter: Annotated[float, typer.Option(help="Spread of planted boundaries, share of the length.")] = 0.15,
    word_share: Annotated[float, typer.Option(help="Chance that a content word can be seen.")] = 0.8,
    distractors: Annotated[int, typer.Option(help="Moments a video that show words elsewhere.")] = 2,
) -> None:
    """Simulate features in which sentences are planted; label what is made of them as simulated."""
    files = {split: Path(file) for split, file in assignments(annotations, "--annotations").items()}
    numbers = assignments(videos, "--videos")
    recipe: dict[str, Any] = {
        "seed": seed, "dim": dim, "rank": rank, "window": window, "strength": strength, "scene": scene,
        "jitter": jitter, "word_share": word_share, "distractors": distractors,
    }  # fmt: skip
    section = validated(
        SimulateSettings, {**recipe, "noise": noise, "source": str(moments), "videos": numbers}, "vmr simulate"
    )
    validated(VideoSettings, {"fps": fps}, "vmr simulate")
    if unknown := [split for split in numbers if split not in files]:
        raise ConfigError(
            f"--videos: {', '.join(unknown)} is not among the splits to write ({', '.join(files)}). Give its "
            "--annotations, or leave it out."
        )
    outputs = [*files.values(), durations, features]
    if len(set(outputs)) < len(outputs):
        raise ConfigError(f"two of the files to write are one: {', '.join(map(str, outputs))}. Give each its own name.")

    from vmr.synthetic.planting import Recipe
    from vmr.synthetic.simulate import simulate_features

    simulate_features(
        moments=moments,
        annotations=files,
        durations=durations,
        features=features,
        videos=section.videos,
        recipe=Recipe(**recipe, noise=tuple(noise), fps=fps, stride=stride),
    )
