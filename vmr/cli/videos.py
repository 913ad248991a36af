"""Commands from the rendered demo, annotations and videos to decoded frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmr.cli.groups import STAGES, Moments, Output, app, command_from_sections, hands_to
from vmr.errors import ConfigError
from vmr.names import AnnotationFormat
from vmr.settings.assignments import assignment

if TYPE_CHECKING:
    from vmr.cli.sections import Fields, RenderSettings, VideoSettings

Workers = Annotated[int, typer.Option(min=1, max=1024, help="Videos at the same time.")]


@command_from_sections(app, rich_help_panel=STAGES)
@hands_to("vmr.synthetic.demo:render_demo")
def render_demo(
    *,
    output: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    settings: RenderSettings,
    workers: Workers = 2,
) -> None:
    """Render the demo dataset: videos, sentences and times in the Charades-STA layout."""


def _files(entries: list[str], option: str) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for entry in entries:
        split, value = assignment(entry, option)
        files.setdefault(split, []).append(Path(value))
    return files


def _counts(entries: list[str], option: str) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for entry in entries:
        name, value = assignment(entry, option)
        split, _, count = name.partition(":")
        if not (split and count and value.isascii() and value.isdigit()):
            raise ConfigError(f"{option} {entry}: expected SPLIT:COUNT=NUMBER with a whole number, as train:lines=12.")
        counts.setdefault(split, {})[count] = int(value)
    return counts


@app.command(rich_help_panel=STAGES)
@hands_to("vmr.annotations.parse:parse_annotations", annotations=_files, expected=_counts)
def parse_annotations(
    *,
    annotation_format: Annotated[AnnotationFormat, typer.Option(help="Format of the files.")],
    annotations: Annotated[list[str], typer.Option(help="split=FILE, repeated.")],
    durations: Annotated[list[Path], typer.Option(help="CSV with the columns id and length.")] = [],  # noqa: B006
    expected: Annotated[list[str], typer.Option(help="split:count=NUMBER, known counts.")] = [],  # noqa: B006
    train_split: Annotated[str, typer.Option(help="Split of four fifths of a CSV that two splits share.")] = "train",
    accept_wrong: Annotated[bool, typer.Option(help="Go on where times cannot be seconds.")] = False,
    output: Output,
    report: Annotated[Path, typer.Option(help="JSON of what was found and refused.")],
) -> None:
    """Read annotation files into the common table of moments."""


@command_from_sections(app, rich_help_panel=STAGES)
@hands_to("vmr.video.probe:probe_videos")
def probe_videos(
    *,
    moments: Moments,
    videos: Annotated[Path, typer.Option(help="Folder of the videos.")],
    shard: Annotated[int, typer.Option(min=0, help="Number of the shard, from 0.")] = 0,
    shards: Annotated[int, typer.Option(min=1, help="How many shards there are.")] = 1,
    settings: Annotated[VideoSettings, Fields("probe_timeout_sec")],
    accept_wrong: Annotated[bool, typer.Option(help="Go on where times cannot be seconds.")] = False,
    output: Output,
) -> None:
    """Ask ffprobe about every annotated video of a shard."""


@command_from_sections(app, rich_help_panel=STAGES)
@hands_to("vmr.video.decode:decode_frames", stage="decode_frames")
def decode_frames(
    *,
    manifest: Annotated[Path, typer.Option(help="Manifest of the shard.")],
    settings: Annotated[VideoSettings, Fields(without=("probe_timeout_sec",))],
    workers: Workers = 1,
    output: Output,
    decoded_manifest: Annotated[Path, typer.Option(help="Manifest with what decoding gave.")],
) -> None:
    """Decode the videos of a shard into the frame store."""
