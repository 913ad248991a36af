"""Commands about assets and the configuration."""

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import RUN, Dataset, Output, app, assets_app, config_app, hands_to, named_dataset

ConfigPath = Annotated[Path, typer.Argument(help="The YAML file.")]
Cache = Annotated[Path, typer.Option(help="Folder of the downloads.")]


@assets_app.command("list")
@hands_to("vmr.assets.prepare:describe_assets")
def list_assets(cache: Cache = Path("data/assets/downloads")) -> None:
    """List every asset: what it is, where it comes from, its licence."""


@assets_app.command("prepare")
@hands_to("vmr.assets.prepare:prepare_asset")
def prepare_asset(
    name: Annotated[str, typer.Argument(help="Name, as `vmr assets list` prints it.")],
    *,
    output: Output,
    cache: Cache = Path("data/assets/downloads"),
) -> None:
    """Fetch or unpack an asset and write it in the form that the stages read."""


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
@hands_to("vmr.config:schema_text")
def print_schema() -> None:
    """Print the JSON Schema that `workflow/schemas/config.schema.json` holds."""


@config_app.command("comments")
def write_comments(path: ConfigPath = Path("config.yaml")) -> None:
    """Write the comments of a configuration again, from the descriptions of its settings."""
    from vmr.config import read_config
    from vmr.config.comments import with_comments
    from vmr.storage.files import write_text

    read_config(path)
    text = with_comments(path.read_text(encoding="utf-8"))
    write_text(path, text)


@config_app.command("methods")
@hands_to("vmr.methods.catalogue:methods_table")
def print_methods() -> None:
    """Print the table of docs/methods.md."""


@app.command(rich_help_panel=RUN)
def plan(
    dataset: Dataset,
    *,
    try_videos: Annotated[
        int | None, typer.Option("--try", min=5, help="Plan a try with so many videos, one method and one seed.")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Cores to reckon with; by default this machine's.")] = None,
    cards: Annotated[int | None, typer.Option(min=0, help="Cards to reckon with; by default one, if any.")] = None,
    config: Annotated[Path, typer.Option(help="The YAML file.")] = Path("config.yaml"),
) -> None:
    """Say what a run will do before it begins: jobs and why, hours, disk, videos that are missing."""
    import os
    import shlex

    from vmr.config import load_config, read_mapping
    from vmr.doctor.new_dataset import QUICK
    from vmr.pipeline.estimate import cards_here
    from vmr.pipeline.forecast import SNAKEFILE, forecast, planned_jobs
    from vmr.pipeline.plan import Plan
    from vmr.pipeline.trial import small_try

    values = read_mapping(config)
    checked = load_config(values, source=str(config))
    checked.for_dataset(dataset)
    cores = cores or len(os.sched_getaffinity(0))
    planned, configfiles = Plan(checked, base=SNAKEFILE.parent), [config]
    if try_videos is not None:
        configfiles.append(small_try(planned, dataset, videos=try_videos, quick=QUICK))
        trial = read_mapping(configfiles[-1])
        (dataset,) = trial["datasets"]
        planned = Plan(
            load_config({**values, "datasets": values["datasets"] | trial["datasets"]}), base=SNAKEFILE.parent
        )
    target = f"results/{dataset}_table.csv"
    jobs = planned_jobs([target], folder=Path(), configfiles=configfiles, cores=cores)
    typer.echo(f"{target}: {forecast(planned, jobs, cores=cores, cards=cards_here() if cards is None else cards)}")
    if try_videos is not None:
        more = shlex.join(["--configfile", *map(str, configfiles), "--", target])
        typer.echo(f"It shows that all works and what it takes; its scores say little. Start it:\n  snakemake {more}")


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
