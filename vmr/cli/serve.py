"""The command that serves the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import app
from vmr.cli.locate import CachePath, ModelPath
from vmr.names import Device


@app.command()
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
    max_upload_mb: Annotated[int, typer.Option(help="Largest file that is taken.", min=1)] = 500,
    max_uploads_mb: Annotated[int, typer.Option(help="All uploads together; the oldest make way.", min=1)] = 5000,
    max_minutes: Annotated[float, typer.Option(help="Longest video that is taken.", min=0.01)] = 180,
    features: Annotated[Path | None, typer.Option(help="Features at hand, instead of making them.")] = None,
    cache: CachePath = None,
    device: Device = "auto",
) -> None:
    """Serve a page: pick or upload a video, type a sentence, play the moments."""
    from vmr.serve.limits import Limits
    from vmr.serve.run import serve as run

    limits = Limits(upload_bytes=max_upload_mb * 10**6, stored_bytes=max_uploads_mb * 10**6, minutes=max_minutes)
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
