"""Commands for one query on one video: export, locate, serve."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vmr.cli.groups import USE, Output, app, command_from_sections, hands_to, is_file, is_folder
from vmr.errors import AnnotationError, ConfigError, FeatureError, QueryError, VideoError, without_controls

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmr.cli.sections import Format, LocatorSettings
    from vmr.locate.answers import Answer, Search
    from vmr.locate.extraction import Progress
    from vmr.locate.videos import VideoAnswers


def _read_by_export(run: Path, **options: Any) -> list[Path | None]:
    named = [options[name] for name in ("vectors", "weights", "mean", "features")]
    return [run / "checkpoint.safetensors", run / "run.json", *named]


@app.command(rich_help_panel=USE)
@hands_to("vmr.locate.export:export_run", reads=_read_by_export)
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


@command_from_sections(app, rich_help_panel=USE)
def locate(
    things: Annotated[
        list[str] | None, typer.Argument(metavar="VIDEO... QUERY...", help="Video files or folders, then sentences.")
    ] = None,
    *,
    opened: LocatorSettings,
    queries: Annotated[Path | None, typer.Option(help="Sentences of a file, each asked of its own video.")] = None,
    top: Annotated[int, typer.Option(help="Most moments of each answer.", min=1, max=100)] = 3,
    form: Annotated[Format, typer.Option("--format", help="text, or what other programs take.")] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json: an object a line.")] = False,
    curve: Annotated[bool, typer.Option(help="With json: the probabilities of every step too.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Picture of the curves to write (.png, .svg, .pdf).")] = None,
    clip: Annotated[Path | None, typer.Option(help="Best moment as a video to write; numbered where several.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Folder to write every moment to, as a video each.")] = None,
) -> None:
    """Find the moments of videos that sentences mean; of a folder one list over all its videos."""
    form = "json" if as_json else form
    videos, asked, whole_folder = _videos_and_queries(
        things or [], any_name=opened.features is not None, given=queries is not None
    )
    if whole_folder and (plot or curve):
        raise ConfigError(
            f"--{'plot' if plot else 'curve'}: a search of a folder has no curves. Name its videos instead."
        )

    from vmr.locate.answers import Answer
    from vmr.locate.drawing import check_outputs, plot_answers
    from vmr.locate.folders import search
    from vmr.locate.written import cut_clips

    check_outputs(plot=plot, clip=clip, clips=clips, videos=videos)
    locator = opened.open()
    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        # The others are asked all the same.
        typer.secho(f"error: {without_controls(str(error))}", fg="red", err=True)
        failures.append(error)

    pairs = dict.fromkeys(videos, asked)
    if queries is not None:
        pairs = _pairs(queries, videos, any_name=opened.features is not None, failed=failed)
        asked = list(dict.fromkeys(query for own in pairs.values() for query in own))
    usable = _usable(locator, asked, failed=failed)
    if not usable:
        raise typer.Exit(1)
    answers: list[Answer | Search] = []
    if whole_folder:
        with _bar() as bar:
            answers += search(
                locator,
                videos,
                list(usable),
                top=top,
                progress=lambda video, number: _shown(bar, f"{number + 1} of {len(videos)}, {video.name}"),
                failed=failed,
            )
    for video, sentences in {} if whole_folder else pairs.items():
        if not (own := [query for query in sentences if query in usable]):
            continue
        try:
            with _bar() as bar:
                found = locator.locate_all(video, own, top=top, progress=_shown(bar, video.name))
        except (VideoError, FeatureError) as error:
            failed(error)
            continue
        answers += found
        if form == "text":
            for each in found:
                _tell(each)
    if form != "text":
        _write(answers, form, curve=curve)
    elif whole_folder:
        for answer in answers:
            _tell(answer)
    whole = [answer for answer in answers if isinstance(answer, Answer)]
    if plot is not None and whole:
        plot_answers(whole, plot)
    if clip is not None:
        _cut_best(answers, clip, videos=videos)
    if clips is not None:
        cut_clips((hit for answer in answers for hit in answer.rows()), clips, queries=asked)
    if failures:
        raise typer.Exit(1)


def _usable(locator: VideoAnswers, queries: list[str], *, failed: Callable[[Exception], None]) -> dict[str, None]:
    """The sentences that the model can take."""
    usable: dict[str, None] = {}
    for query in queries:
        try:
            locator.check(query)
            usable[query] = None
        except QueryError as error:
            failed(error)
    return usable


def _write(answers: list[Answer | Search], form: Format, *, curve: bool) -> None:
    """Print answers for other programs."""
    from vmr.locate.written import written

    typer.echo(written(answers, form, curve=curve), nl=False)
    if form != "json":  # which has a place for refusals
        for answer in answers:
            if answer.refused:
                typer.echo(f"{_title(answer)}\n  refused: {answer.refused}", err=True)


def _cut_best(answers: list[Answer | Search], clip: Path, *, videos: list[Path]) -> None:
    """Write the best moment of each answer."""
    from vmr.locate.drawing import check_outputs, cut_clip

    for number, answer in enumerate(answers, start=1):
        named = clip if len(answers) == 1 else clip.with_stem(f"{clip.stem}-{number}")
        check_outputs(clip=named, videos=videos)
        for best in itertools.islice(answer.rows(), 1):
            cut_clip(Path(best.video), best.moment.start_sec, best.moment.end_sec, named)


def _tell(answer: Answer | Search) -> None:
    """Print an answer for people."""
    from vmr.locate.answers import Answer, clock, shown_score

    whole = isinstance(answer, Answer)
    typer.echo(_title(answer))
    for hit in answer.rows():
        times = f"{clock(hit.moment.start_sec)} - {clock(hit.moment.end_sec)}   {shown_score(hit.moment.score)}"
        typer.echo(f"  {times}" if whole else f"  {times}   {hit.video}")
    if answer.refused:
        typer.echo(f"  refused: {answer.refused}")
    elif answer.matched:
        taken = (f"{each.action} ({shown_score(each.probability)})" for each in answer.matched)
        typer.echo(f"  taken for: {', '.join(taken)}")
    if not isinstance(answer, Answer):
        typer.echo(f"  searched {answer.videos} videos")
    if answer.learned_from and not answer.matched and not answer.refused:
        seen = f"; never saw there: {', '.join(answer.unseen_words)}" if answer.unseen_words else ""
        typer.echo(f"  learned from {answer.learned_from}{seen}")
    if isinstance(answer, Answer):
        if answer.unknown_words:
            typer.echo(f"  words without a meaning to this model: {', '.join(answer.unknown_words)}")
        if answer.left_out_words:
            typer.echo(f"  too long; left out: {' '.join(answer.left_out_words)}")


def _title(answer: Answer | Search) -> str:
    """The sentence in one line, after its video where it is an answer of one."""
    from vmr.locate.answers import Answer, one_line

    return one_line(f"{answer.video}: {answer.query}" if isinstance(answer, Answer) else answer.query)


def _videos_and_queries(things: list[str], *, any_name: bool, given: bool) -> tuple[list[Path], list[str], bool]:
    """Videos of the leading arguments, the sentences after them, and whether a folder of videos is to be searched.

    Args:
        given: sentences come from a file instead.
    """
    from vmr.locate.folders import videos_in
    from vmr.names import VIDEO_EXTENSIONS

    videos: list[Path] = []
    count, whole_folder = 0, False
    for thing in things:
        if is_folder(thing):
            videos += videos_in(Path(thing))
            whole_folder = True
        elif is_file(thing) or Path(thing).suffix.lower() in VIDEO_EXTENSIONS or (any_name and not count):
            videos.append(Path(thing))
        else:
            break
        count += 1
    if given and count < len(things):
        raise ConfigError(f"{things[count]}: there is no such video; with --queries sentences come from its file.")
    if not count and not (given and any_name):
        named = f"{things[0]}: there is no such video" if things else "no video was given"
        raise ConfigError(f"{named}. Videos come first, then sentences in quotes.")
    if count == len(things) and not given:
        raise ConfigError('no query was given. Videos come first, then sentences: vmr locate VIDEO "a sentence".')
    # A folder and a film in it give the film once.
    return list(dict.fromkeys(videos)), things[count:], whole_folder and not given


def _pairs(
    queries: Path, videos: list[Path], *, any_name: bool, failed: Callable[[Exception], None]
) -> dict[Path, list[str]]:
    """The sentences that a file asks of each video; without videos, of features by the names in the file."""
    from vmr.annotations.read import read_sentences
    from vmr.video_ids import VideoNames

    sentences, problems = read_sentences(queries)
    for problem in problems:
        failed(AnnotationError(f"{problem.where}: {problem.reason}"))
    if any_name and not videos:
        return {Path(written): own for written, own in sentences.items()}
    named: dict[str, list[Path]] = {}
    for video in videos:
        named.setdefault(video.name, []).append(video)
    names = VideoNames(named)
    pairs: dict[Path, list[str]] = {}
    for written, own in sentences.items():
        found = [video for name in names.find_all(written) for video in named[name]]
        if len(found) == 1:
            pairs.setdefault(found[0], []).extend(own)
        elif found:
            failed(VideoError(f"{written}: {', '.join(map(str, found))} may be meant. Give one of them another name."))
        else:
            failed(
                VideoError(
                    f"{written}: no file of this name is among the {len(videos)} videos{names.nearest(written)}."
                )
            )
    return pairs


def _bar() -> Any:
    from tqdm import tqdm

    return tqdm(unit="step", leave=False, disable=None)


def _shown(bar: Any, name: str) -> Progress:
    def show(what: str, done: int, total: int) -> None:
        bar.set_description(f"{name}: {what}")
        bar.total = total or None
        bar.n = done
        bar.refresh()

    return show
