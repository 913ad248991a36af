"""The command that serves the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmr.cli.groups import USE, app, command_from_sections

if TYPE_CHECKING:
    from vmr.cli.sections import Fields, Limits, Listening, LocatorSettings


@command_from_sections(app, rich_help_panel=USE)
def serve(
    *,
    videos: Annotated[list[Path], typer.Option(help="Folder of videos to offer; may be given several times.")] = [],  # noqa: B006
    opened: LocatorSettings,
    listening: Listening,
    limits: Annotated[Limits, Fields("max_upload_mb", "max_uploads_mb", "max_minutes")],
) -> None:
    """Serve a page: pick or upload a video, type a sentence, play the moments."""
    from vmr.serve.run import serve as run

    run(
        videos=videos,
        opened=opened,
        listening=listening,
        limits=limits,
        announce=lambda address: typer.echo(f"open {address} (Ctrl-C ends the server)"),
    )
