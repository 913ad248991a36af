"""The command that finds damaged files."""

from pathlib import Path
from typing import Annotated

import typer

from vmr.cli.groups import DATA, Dataset, app


@app.command(rich_help_panel=DATA)
def verify(
    dataset: Dataset,
    *,
    work: Annotated[Path, typer.Option(help="Folder of what the workflow has made.")] = Path("work"),
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is damaged.")] = False,
) -> None:
    """Find frames, features and queries that were cut or altered since they were made; exit code 1 while some are."""
    from vmr.storage.verify import verify_files

    result = verify_files(work / dataset)
    for path, reason in result.damaged.items():
        typer.echo(f"{path}: {reason}")
        if delete:
            path.unlink()
    if result.unsealed:
        typer.echo(f"{len(result.unsealed)} files have no checksums and were only opened: {result.unsealed[0]}, ...")
    for path, reason in result.unread.items():
        typer.echo(f"{path}: could not be looked into ({reason}); it stays as it is.")
    size = f"{result.files} files of {result.size_bytes / 1e9:.2f} GB"
    if not result.damaged:
        more = f" of what could be read; {len(result.unread)} could not" if result.unread else ""
        typer.echo(f"{size}: nothing is damaged{more}.")
        if result.unread:
            raise typer.Exit(1)
        return
    todo = "Removed" if delete else "Remove them with --delete"
    typer.echo(f"{size}: {len(result.damaged)} damaged. {todo}; Snakemake makes them again where they are needed.")
    if not delete or result.unread:
        raise typer.Exit(1)
