"""The command that serves the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import app
from vmr.cli.locate import CachePath, ModelPath
from vmr.names import Device
from vmr.serve.limits import Limits
from vmr.settings.options import Fields, options_from_sections


@app.command()
@options_from_sections
def serve(
    *,
    videos: Annotated[Path | None, typer.Option(help="Folder of videos to offer.")] = None,
    model: ModelPath = Path("model.safetensors"),
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.", min=0, max=65535)] = 8000,
    token: Annotated[
        str | None, typer.Option(help="What visitors must show; random where one is needed.", envvar="VMR_TOKEN")
    ] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="Another name by which the server is called.")] = None,
    limits: Annotated[Limits, Fields("max_upload_mb", "max_uploads_mb", "max_minutes")],
    features: Annotated[Path | None, typer.Option(help="Features at hand, instead of making them.")] = None,
    cache: CachePath = None,
    device: Device = "auto",
) -> None:
    """Serve a page: pick or upload a video, type a sentence, play the moments."""
    from vmr.serve.run import serve as run

    run(
        model=model,
        videos=videos,
        announce=lambda address: typer.echo(f"open {address} (Ctrl-C ends the server)"),
        host=host,
        port=port,
        token=token,
        names=allow_host or [],
        limits=limits,
        cache=cache,
        device=device,
        features=features,
    )
