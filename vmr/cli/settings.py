"""Commands about assets and the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import RUN, Output, app, assets_app, config_app, named_dataset

ConfigPath = Annotated[Path, typer.Argument(help="The YAML file.")]
Cache = Annotated[Path, typer.Option(help="Folder of the downloads.")]


@assets_app.command("list")
def list_assets(
    cache: Cache = Path("data/assets/downloads"),
) -> None:
    """List every asset: what it is, where it comes from, its licence."""
    from vmr.assets.prepare import describe_assets

    typer.echo(describe_assets(cache=cache))


@assets_app.command("prepare")
def prepare_asset(
    name: Annotated[str, typer.Argument(help="Name, as `vmr assets list` prints it.")],
    *,
    output: Output,
    cache: Cache = Path("data/assets/downloads"),
) -> None:
    """Fetch or unpack an asset and write it in the form that the stages read."""
    from vmr.assets.prepare import prepare_asset

    prepare_asset(name, output=output, cache=cache)


@assets_app.command("videos")
def fetch_videos(
    name: Annotated[str, typer.Argument(help="Name of an archive of videos, as `vmr assets list` prints it.")],
    *,
    folder: Annotated[Path, typer.Option(help="Folder of the videos; made, must not be there.")],
    listing: Annotated[Path, typer.Option(help="File to write: what the folder then holds.")],
    cache: Cache = Path("data/assets/downloads"),
) -> None:
    """Download an archive of videos and unpack it into a folder."""
    from vmr.assets.prepare import fetch_videos
    from vmr.video.listing import write_listing

    fetch_videos(name, folder=folder, cache=cache)
    write_listing(folder, listing)


@config_app.command("check")
def check_config(path: ConfigPath = Path("config.yaml")) -> None:
    """Check a configuration; silent when it is right."""
    from vmr.config import read_config

    read_config(path)


@config_app.command("show")
def show_config(
    path: ConfigPath = Path("config.yaml"),
    dataset: Annotated[
        str | None, typer.Option(help="Settings as they hold for this dataset.", autocompletion=named_dataset)
    ] = None,
) -> None:
    """Print every setting with the defaults filled in."""
    import yaml

    from vmr.config import read_config

    config = read_config(path)
    shown = config.for_dataset(dataset) if dataset else config
    typer.echo(yaml.safe_dump(shown.model_dump(by_alias=True), sort_keys=False, allow_unicode=True), nl=False)


@config_app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema that `workflow/schemas/config.schema.json` holds."""
    from vmr.config import schema_text

    typer.echo(schema_text(), nl=False)


@config_app.command("comments")
def write_comments(path: ConfigPath = Path("config.yaml")) -> None:
    """Write the comments of a configuration again, from the descriptions of its settings."""
    from vmr.config import read_config
    from vmr.config.comments import with_comments
    from vmr.storage.files import atomic_path

    read_config(path)
    text = with_comments(path.read_text(encoding="utf-8"))
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@config_app.command("methods")
def print_methods() -> None:
    """Print the README's table of methods."""
    from vmr.methods.catalogue import methods_table

    typer.echo(methods_table(), nl=False)


@app.command("progress", rich_help_panel=RUN)
def show_progress(
    *,
    directory: Annotated[Path, typer.Option(help="Folder that Snakemake works in.")] = Path(),
    watch: Annotated[float, typer.Option(min=0, help="Seconds between looks; 0: one look.")] = 0,
) -> None:
    """Say how far the latest run has come: jobs, videos in the shards at work, rates, time left."""
    import time

    from click import clear

    from vmr.pipeline.progress import progress

    while True:
        text = progress(directory)
        if watch:
            clear()  # does nothing where the output is no terminal
        typer.echo(text)
        if not watch or "the run has ended" in text:
            return
        time.sleep(watch)
