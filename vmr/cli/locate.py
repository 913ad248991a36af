"""Commands for one query on one video: export, locate, serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmr.cli.groups import USE, Output, app, is_file, refuse_inputs
from vmr.errors import ConfigError, FeatureError, VideoError
from vmr.locate.settings import LocatorSettings
from vmr.settings.options import options_from_sections

if TYPE_CHECKING:
    from vmr.locate.answers import Answer
    from vmr.locate.extraction import Progress


@app.command(rich_help_panel=USE)
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run (checkpoint.safetensors, run.json).")],
    *,
    output: Output,
    assets: Annotated[Path, typer.Option(help="Folder with word vectors and weights.")] = Path("data/assets"),
    vectors: Annotated[Path | None, typer.Option(help="Word vectors, if elsewhere.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The extractor's weights, if elsewhere.")] = None,
    mean: Annotated[Path | None, typer.Option(help="C3D's mean clip, if training had one.")] = None,
    features: Annotated[Path | None, typer.Option(help="Merged feature file with the PCA, if there is one.")] = None,
    most_words: Annotated[int, typer.Option(help="Words to take along, the most frequent.", min=1)] = 400_000,
) -> None:
    """Write a trained run as one file that `locate` and `serve` take."""
    from vmr.locate.export import export_run

    refuse_inputs(output, [run / "checkpoint.safetensors", run / "run.json", vectors, weights, mean, features])
    export_run(
        run=run,
        output=output,
        assets=assets,
        vectors=vectors,
        weights=weights,
        mean=mean,
        features=features,
        most_words=most_words,
    )


@app.command(rich_help_panel=USE)
@options_from_sections
def locate(
    things: Annotated[list[str], typer.Argument(metavar="VIDEO... QUERY...", help="Video files, then sentences.")],
    *,
    opened: LocatorSettings,
    top: Annotated[int, typer.Option(help="Most moments of each answer.", min=1, max=100)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")] = False,
    curve: Annotated[bool, typer.Option(help="With --json: the probabilities of every step too.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Picture of the curves to write (.png, .svg, .pdf).")] = None,
    clip: Annotated[Path | None, typer.Option(help="Best moment as a video to write; numbered where several.")] = None,
) -> None:
    """Find the moments of videos that sentences mean."""
    import json

    from tqdm import tqdm

    from vmr.locate.answers import clock, shown_score

    videos, queries = _videos_and_queries(things, any_name=opened.features is not None)

    from vmr.locate.drawing import check_outputs, cut_clip, plot_answers
    from vmr.locate.opening import open_answers

    check_outputs(plot=plot, clip=clip)
    locator = open_answers(opened)
    answers: list[Answer] = []
    failed = 0
    for video in videos:
        try:
            with tqdm(desc=video.name, unit="step", leave=False, disable=None) as bar:
                found = locator.locate_all(video, queries, top=top, progress=_shown(bar, video.name))
        except (VideoError, FeatureError) as error:
            # The others are asked all the same.
            typer.secho(f"error: {error}", fg="red", err=True)
            failed += 1
            continue
        for answer in found:
            answers.append(answer)
            if as_json:
                typer.echo(json.dumps(answer.plain(curve=curve), ensure_ascii=False))
                continue
            typer.echo(f"{answer.video}: {answer.query}")
            for moment in answer.moments:
                typer.echo(f"  {clock(moment.start_sec)} - {clock(moment.end_sec)}   {shown_score(moment.score)}")
            if answer.refused:
                typer.echo(f"  refused: {answer.refused}")
            elif answer.matched:
                taken = (f"{each.action} ({shown_score(each.probability)})" for each in answer.matched)
                typer.echo(f"  taken for: {', '.join(taken)}")
            if answer.unknown_words:
                typer.echo(f"  words without a meaning to this model: {', '.join(answer.unknown_words)}")
            if answer.left_out_words:
                typer.echo(f"  too long; left out: {' '.join(answer.left_out_words)}")
    if plot is not None and answers:
        plot_answers(answers, plot)
    if clip is not None:
        for number, answer in enumerate(answers, start=1):
            if answer.moments:
                best = answer.moments[0]
                named = clip if len(answers) == 1 else clip.with_stem(f"{clip.stem}-{number}")
                cut_clip(Path(answer.video), best.start_sec, best.end_sec, named)
    if failed:
        raise typer.Exit(1)


def _videos_and_queries(things: list[str], *, any_name: bool) -> tuple[list[Path], list[str]]:
    """Leading arguments that name videos, and the sentences after them."""
    from vmr.names import VIDEO_EXTENSIONS

    count = 0
    for thing in things:
        if not (is_file(thing) or Path(thing).suffix.lower() in VIDEO_EXTENSIONS or (any_name and not count)):
            break
        count += 1
    if not count:
        raise ConfigError(f"{things[0]}: there is no such video. Videos come first, then sentences in quotes.")
    if count == len(things):
        raise ConfigError('no query was given. Videos come first, then sentences: vmr locate VIDEO "a sentence".')
    return [Path(thing) for thing in things[:count]], things[count:]


def _shown(bar: Any, name: str) -> Progress:
    def show(what: str, done: int, total: int) -> None:
        bar.set_description(f"{name}: {what}")
        bar.total = total or None
        bar.n = done
        bar.refresh()

    return show
