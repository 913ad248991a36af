"""Commands from the rendered demo, annotations and videos to decoded frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import Moments, Output, app, assignment
from vmr.names import AnnotationFormat


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
    from vmr.annotations.demo import render_demo

    render_demo(
        output=output,
        train_videos=train_videos,
        test_videos=test_videos,
        duration_sec=duration_sec,
        seed=seed,
        workers=workers,
    )


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
    from vmr.video.probe import probe_videos

    probe_videos(moments=moments, videos=videos, shard=shard, shards=shards, output=output, timeout_sec=timeout_sec)


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
    from vmr.stages import STAGES
    from vmr.video.decode import decode_frames

    decode_frames(
        manifest=manifest,
        output=output,
        decoded_manifest=decoded_manifest,
        fps=fps,
        short_side=short_side,
        timeout_sec=timeout_sec,
        workers=workers,
        max_failed_share=max_failed_share,
        code_digest=STAGES["decode_frames"].digest(),
    )
