"""Commands from the rendered demo, annotations and videos to decoded frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field, ValidationInfo, field_validator

from vmr.cli.groups import Moments, Output, app
from vmr.config.datasets import RenderSettings
from vmr.config.sections import MOST_FPS
from vmr.errors import ConfigError
from vmr.names import AnnotationFormat

# Not inside the commands: the digest of a stage's code counts, of what a module imports at its top, only what is used.
from vmr.settings.checks import validated
from vmr.settings.options import assignment
from vmr.settings.section import Positive, Section, Share

_Workers = Annotated[int, Field(gt=0, le=1024)]
_Seconds = Annotated[float, Field(gt=0)]


class _Rendering(RenderSettings):
    """Numbers of `render_demo`."""

    workers: _Workers


class _Probing(Section):
    """Numbers of `probe_videos`."""

    shards: Positive
    shard: Annotated[int, Field(ge=0)]
    timeout_sec: _Seconds

    @field_validator("shard")
    @classmethod
    def _is_one_of_them(cls, shard: int, info: ValidationInfo) -> int:
        if shard >= (shards := info.data.get("shards", shard + 1)):
            raise ValueError(f"shards are counted from 0: of {shards} the last one is {shards - 1}")
        return shard


class _Decoding(Section):
    """Numbers of `decode_frames`; wider than those of the configuration, for trials."""

    fps: Annotated[float, Field(gt=0, le=MOST_FPS)]
    short_side: Annotated[int, Field(ge=2, le=8192)]
    timeout_sec: _Seconds
    max_failed_share: Share
    workers: _Workers


@app.command()
def render_demo(
    *,
    output: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    train_videos: int = 40,
    test_videos: int = 12,
    duration_sec: float = 9.0,
    seed: int = 1,
    workers: int = 2,
) -> None:
    """Render the demo dataset: videos, sentences and times in the Charades-STA layout."""
    numbers: dict[str, Any] = {
        "train_videos": train_videos, "test_videos": test_videos, "duration_sec": duration_sec, "seed": seed,
        "workers": workers,
    }  # fmt: skip
    validated(_Rendering, numbers, "vmr render-demo")

    from vmr.synthetic.demo import render_demo

    render_demo(output=output, **numbers)


@app.command()
def parse_annotations(
    *,
    annotation_format: Annotated[AnnotationFormat, typer.Option(help="Format of the files.")],
    annotations: Annotated[list[str], typer.Option(help="split=FILE, repeated.")],
    durations: Annotated[list[Path], typer.Option(help="CSV with the columns id and length.")] = [],  # noqa: B006
    expected: Annotated[list[str], typer.Option(help="split:count=NUMBER, known counts.")] = [],  # noqa: B006
    train_split: Annotated[str, typer.Option(help="Split of four fifths of a CSV that two splits share.")] = "train",
    output: Output,
    report: Annotated[Path, typer.Option(help="JSON of what was found and refused.")],
) -> None:
    """Read annotation files into the common table of moments."""
    from vmr.annotations.parse import parse_annotations

    files: dict[str, list[Path]] = {}
    for entry in annotations:
        split, value = assignment(entry, "--annotations")
        files.setdefault(split, []).append(Path(value))
    counts: dict[str, dict[str, int]] = {}
    for entry in expected:
        name, value = assignment(entry, "--expected")
        split, _, count = name.partition(":")
        if not (split and count and value.isascii() and value.isdigit()):
            raise ConfigError(
                f"--expected {entry}: expected SPLIT:COUNT=NUMBER with a whole number, as train:lines=12."
            )
        counts.setdefault(split, {})[count] = int(value)
    parse_annotations(
        annotation_format=annotation_format,
        annotations=files,
        durations=durations,
        output=output,
        report=report,
        expected=counts or None,
        train_split=train_split,
    )


@app.command()
def probe_videos(
    *,
    moments: Moments,
    videos: Annotated[Path, typer.Option(help="Folder of the videos.")],
    shard: int = 0,
    shards: int = 1,
    timeout_sec: float = 60.0,
    output: Output,
) -> None:
    """Ask ffprobe about every annotated video of a shard."""
    numbers: dict[str, Any] = {"shards": shards, "shard": shard, "timeout_sec": timeout_sec}
    validated(_Probing, numbers, "vmr probe-videos")

    from vmr.video.probe import probe_videos

    probe_videos(moments=moments, videos=videos, output=output, **numbers)


@app.command()
def decode_frames(
    *,
    manifest: Annotated[Path, typer.Option(help="Manifest of the shard.")],
    fps: float = 24.0,
    short_side: int = 256,
    timeout_sec: float = 120.0,
    max_failed_share: float = 0.5,
    workers: int = 1,
    output: Output,
    decoded_manifest: Annotated[Path, typer.Option(help="Manifest with what decoding gave.")],
) -> None:
    """Decode the videos of a shard into the frame store."""
    numbers: dict[str, Any] = {
        "fps": fps, "short_side": short_side, "timeout_sec": timeout_sec, "max_failed_share": max_failed_share,
        "workers": workers,
    }  # fmt: skip
    validated(_Decoding, numbers, "vmr decode-frames")

    from vmr.pipeline.stages import STAGES
    from vmr.video.decode import decode_frames

    decode_frames(
        manifest=manifest,
        output=output,
        decoded_manifest=decoded_manifest,
        code_digest=STAGES["decode_frames"].digest(),
        **numbers,
    )
