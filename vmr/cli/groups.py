"""The groups of commands, how errors are shown, and the options that several commands share."""

import functools
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from vmr import __version__
from vmr.errors import ConfigError, VmrError, without_controls
from vmr.machine.use_log import log_cores_used

# Where commands stand in `vmr --help`, in this order.
DATA, RUN, USE, STAGES = _PANELS = "Data", "Run", "Use", "Stages, as the rules of the workflow call them"


class _Commands(TyperGroup):
    """Prints our own errors, and what the system refuses, as one clear line.

    Everything else is a bug and keeps its traceback. A file whose name begins with a dash is no option.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        def panel(name: str) -> int:
            named = getattr(self.commands[name], "rich_help_panel", None)
            return _PANELS.index(named) if named in _PANELS else 0

        return sorted(self.commands, key=panel)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        dashed = [arg for arg in args if arg.startswith("-") and Path(arg).suffix and is_file(arg)]
        return super().parse_args(ctx, [f"./{arg}" if arg in dashed else arg for arg in args])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VmrError as error:
            typer.secho(f"error: {without_controls(str(error))}", fg="red", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError:
            # The reader of our output (`| head`) has gone: nothing to say, and nobody to say it to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None
        except OSError as error:
            if error.errno is None:  # a library's own, such as HDF5's
                raise
            typer.secho(
                f"error: {without_controls(str(error.filename or 'a file'))}: {error.strerror}. Look at the path, who "
                "may use it and the space that is left, and start again.",
                fg="red",
                err=True,
            )
            raise typer.Exit(1) from error


class _FromSections(TyperCommand):
    """Makes its options when it is called: sections of settings take as long to load as the rest of `vmr --help`."""

    def get_params(self, ctx: Any) -> list[Any]:
        if function := getattr(self.callback, "function", None):
            from vmr.cli import sections
            from vmr.settings.options import options_from_sections

            alone = typer.Typer(add_completion=False)
            alone.command()(options_from_sections(function, known=vars(sections)))
            made = typer.main.get_command(alone)
            self.params, self.callback = made.params, made.callback
        return super().get_params(ctx)


def command_from_sections(
    group: typer.Typer, name: str | None = None, *, rich_help_panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose options are the settings of sections, see `options_from_sections`.

    Its module imports sections for type checkers only; `vmr.cli.sections` holds them when the command is called.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        def later() -> None:
            raise AssertionError("its options are made first")

        later.__name__, later.__doc__ = function.__name__, function.__doc__
        vars(later)["function"] = function
        group.command(name, cls=_FromSections, rich_help_panel=rich_help_panel)(later)
        return function

    return register


def hands_to(
    target: str,
    *,
    stage: str = "",
    reads: Callable[..., Iterable[Any]] | None = None,
    **made: Callable[[Any, str], Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that is only a docstring its body: a call with all of its options; what it returns is printed.

    Args:
        target: MODULE:FUNCTION, imported when the command is called.
        stage: whose digest of code the function takes, too; in braces it names options.
        reads: from the options, the files that are read, and so may not be the output.
        made: by option what makes of its value, and of its name for messages, what the function takes.
    """

    def register(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def handed(**options: Any) -> None:
            for name, make in made.items():
                options[name] = make(options[name], f"--{name}")
            if reads:
                refuse_inputs(options["output"], reads(**options))
            if stage:
                from vmr.pipeline.stages import STAGES

                options["code_digest"] = STAGES[stage.format(**options)].digest()
            if (text := target_of(handed)(**options)) is not None:
                typer.echo(text, nl=not text.endswith("\n"))

        vars(handed).update(target=target, stage=stage)
        return handed

    return register


def target_of(command: Callable[..., None]) -> Callable[..., str | None]:
    """The function that a command of `hands_to` calls."""
    module, _, name = vars(command)["target"].partition(":")
    found: Callable[..., str | None] = getattr(importlib.import_module(module), name)
    return found


# Whether an argument names a file or a folder; no error where it is a sentence, longer than any name of a file.
is_file, is_folder = os.path.isfile, os.path.isdir


def _group(help_text: str) -> typer.Typer:
    return typer.Typer(cls=_Commands, help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)


app = _group("Natural-language video moment retrieval: from raw videos to the CI-MHA tables.")
assets_app = _group("Weights, word vectors and annotations that are fetched or embedded.")
config_app = _group("The configuration.")
features_app = _group("Feature files: look at them, compare them, import other people's.")
report_app = _group("The report: one page with charts and case studies.")
app.add_typer(assets_app, name="assets", rich_help_panel=DATA)
app.add_typer(features_app, name="features", rich_help_panel=DATA)
app.add_typer(config_app, name="config", rich_help_panel=RUN)
app.add_typer(report_app, name="report", rich_help_panel=STAGES)


def named_dataset(incomplete: str) -> list[str]:
    """Datasets of `config.yaml` in the working directory whose names begin so, for a shell's completion."""
    from vmr.config import read_mapping

    try:
        datasets = read_mapping(Path("config.yaml")).get("datasets")
    except ConfigError:
        return []
    return [str(name) for name in datasets or {} if str(name).startswith(incomplete)]


def _numbered(paths: list[Path]) -> list[Path]:
    from vmr.storage.files import numbered_files

    try:
        return numbered_files(paths)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def per_shard(*, help: str) -> Any:
    """Option that takes a file for each shard; `shard_{0..31}.csv` stands for 32 of them."""
    return typer.Option(help=f"{help} shard_{{0..31}} in a name stands for 32 files.", callback=_numbered)


Dataset = Annotated[str, typer.Argument(help="Name of the dataset in the configuration.", autocompletion=named_dataset)]
Manifests = Annotated[list[Path], per_shard(help="Manifests of the videos, one a shard.")]
Moments = Annotated[Path, typer.Option(help="Table of moments (moments.csv).")]
Output = Annotated[Path, typer.Option(help="File to write.")]
TrainSplit = Annotated[str, typer.Option(help="Split of the training videos.")]
Splits = Annotated[list[str], typer.Option(help="Splits to unite.")]
SplitName = Annotated[str, typer.Option(help="Name of the union in tables.")]
DatasetName = Annotated[str, typer.Option(help="Name of the dataset.")]
FeaturesLabel = Annotated[str, typer.Option(help="Name of the features in tables.")]
Predictions = Annotated[Path, typer.Option(help="Predictions to write (JSON lines).")]
VideoScores = Annotated[Path, typer.Option(help="CSV of sums by video to write, for the table.")]
Coverage = Annotated[Path, typer.Option(help="CSV of what became of each video.")]


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_controls(super().format(record))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"vmr {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    # The rules of the workflow set the variable: their logs are for reading afterwards.
    verbose: Annotated[bool, typer.Option("--verbose", "-v", envvar="VMR_VERBOSE", help="Tell what is done.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(_Plain("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[told])
    context.call_on_close(log_cores_used)
    # On a card torch copies the weights of an LSTM's direction together at a call, and says so in every log: some MB,
    # which take no time beside the steps (`vmr.model.encoders.BiLSTM`).
    warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")


def refuse_inputs(output: Path | None, inputs: Iterable[Path | str | None]) -> None:
    """Refuse to write over what is about to be read.

    Raises:
        ConfigError: the output is one of the inputs.
    """
    if output is None or not output.exists():
        return
    for given in inputs:
        if given and Path(given).exists() and output.samefile(given):
            raise ConfigError(f"{output}: is read, too, and would be lost. Name another file to write.")
