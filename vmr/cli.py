"""The command line: one subcommand for each stage, the same that the workflow's rules call.

Stages are imported inside their commands, so that `vmr --help` does not wait for torch.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vmr.errors import ConfigError, VmrError
from vmr.names import (
    Alignment,
    AnnotationFormat,
    Device,
    ExtractorName,
    MethodName,
    Mode,
    Padding,
    Precision,
    Selection,
)


class _Commands(TyperGroup):
    """Prints our own errors as one clear line; everything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VmrError as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError:
            # The reader of our output (`| head`) has gone: nothing to say, and nobody to say it to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None


def _group(help_text: str) -> typer.Typer:
    return typer.Typer(cls=_Commands, help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)


app = _group("Natural-language video moment retrieval: from raw videos to the CI-MHA tables.")
assets_app = _group("Weights, word vectors and annotations that are fetched or embedded.")
config_app = _group("The configuration.")
features_app = _group("Feature files: look at them, compare them, import other people's.")
app.add_typer(assets_app, name="assets")
app.add_typer(config_app, name="config")
app.add_typer(features_app, name="features")

Manifests = Annotated[list[Path], typer.Option(help="Manifests of the videos, one a shard.")]
Moments = Annotated[Path, typer.Option(help="Table of moments (moments.csv).")]
Features = Annotated[Path, typer.Option(help="Merged feature file.")]
Queries = Annotated[Path, typer.Option(help="Query file.")]
Output = Annotated[Path, typer.Option(help="File to write.")]


@app.callback()
def _main(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and errors only.")] = False,
) -> None:
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


@app.command()
def render_demo(
    *,
    output: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    train_videos: int = 40,
    test_videos: int = 12,
    duration_sec: float = 9.0,
    seed: int = 1,
    workers: int = 2,
) -> None:
    """Render the demo dataset: videos, sentences and times in the Charades-STA layout."""
    from vmr.annotations.demo import render_demo

    render_demo(
        output=output,
        train_videos=train_videos,
        test_videos=test_videos,
        duration_sec=duration_sec,
        seed=seed,
        workers=workers,
    )


@app.command()
def parse_annotations(
    *,
    annotation_format: Annotated[AnnotationFormat, typer.Option(help="Format of the files.")],
    annotations: Annotated[list[str], typer.Option(help="split=FILE, repeated.")],
    durations: Annotated[list[Path], typer.Option(help="CSV with the columns id and length.")] = [],  # noqa: B006
    expected: Annotated[list[str], typer.Option(help="split:count=NUMBER, known counts.")] = [],  # noqa: B006
    output: Output,
    report: Annotated[Path, typer.Option(help="JSON of what was found and refused.")],
) -> None:
    """Read annotation files into the common table of moments."""
    from vmr.annotations.parse import parse_annotations

    files: dict[str, list[Path]] = {}
    for entry in annotations:
        split, value = _assignment(entry, "--annotations")
        files.setdefault(split, []).append(Path(value))
    counts: dict[str, dict[str, int]] = {}
    for entry in expected:
        name, value = _assignment(entry, "--expected")
        split, _, count = name.partition(":")
        counts.setdefault(split, {})[count] = int(value)
    parse_annotations(
        annotation_format=annotation_format,
        annotations=files,
        durations=durations,
        output=output,
        report=report,
        expected=counts or None,
    )


@app.command()
def probe_videos(
    *,
    moments: Moments,
    videos: Annotated[Path, typer.Option(help="Folder of the videos.")],
    shard: int = 0,
    shards: int = 1,
    timeout_sec: float = 60.0,
    output: Output,
) -> None:
    """Ask ffprobe about every annotated video of a shard."""
    from vmr.video.probe import probe_videos

    probe_videos(moments=moments, videos=videos, shard=shard, shards=shards, output=output, timeout_sec=timeout_sec)


@app.command()
def decode_frames(
    *,
    manifest: Annotated[Path, typer.Option(help="Manifest of the shard.")],
    fps: float = 24.0,
    short_side: int = 256,
    timeout_sec: float = 120.0,
    max_failed_share: float = 0.5,
    workers: int = 1,
    output: Output,
    decoded_manifest: Annotated[Path, typer.Option(help="Manifest with what decoding gave.")],
) -> None:
    """Decode the videos of a shard into the frame store."""
    from vmr.stages import STAGES
    from vmr.video.decode import decode_frames

    decode_frames(
        manifest=manifest,
        output=output,
        decoded_manifest=decoded_manifest,
        fps=fps,
        short_side=short_side,
        timeout_sec=timeout_sec,
        workers=workers,
        max_failed_share=max_failed_share,
        code_digest=STAGES["decode_frames"].digest(),
    )


@app.command()
def extract(
    *,
    frames: Annotated[Path, typer.Option(help="Frame store of the shard.")],
    manifest: Annotated[Path, typer.Option(help="Manifest with what decoding gave.")],
    extractor: ExtractorName = "i3d",
    weights: Annotated[Path, typer.Option(help="Weights, prepared or your own.")],
    mean: Annotated[Path | None, typer.Option(help="c3d: mean clip (.npy).")] = None,
    window: int = 64,
    stride: int = 8,
    mode: Mode = "windows",
    padding: Padding = "edge",
    device: Device = "auto",
    dtype: Precision = "auto",
    batch_size: int | None = None,
    max_failed_share: float = 0.5,
    output: Output,
    statuses: Annotated[Path, typer.Option(help="CSV of what became of each video.")],
) -> None:
    """Extract the features of a shard."""
    from vmr.features.extract import extract_shard
    from vmr.stages import STAGES, extract_stage

    extract_shard(
        frames=frames,
        manifest=manifest,
        output=output,
        statuses=statuses,
        extractor=extractor,
        weights=weights,
        mean=mean,
        window=window,
        stride=stride,
        mode=mode,
        padding=padding,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        max_failed_share=max_failed_share,
        code_digest=STAGES[extract_stage(extractor)].digest(),
    )


@app.command()
def merge_features(
    *,
    shards: Annotated[list[Path], typer.Option(help="Feature files of the shards.")],
    statuses: Annotated[list[Path], typer.Option(help="Their status files.")],
    moments: Moments,
    pca_components: int | None = None,
    train_split: str = "train",
    output: Output,
    coverage: Annotated[Path, typer.Option(help="CSV of what became of each video.")],
) -> None:
    """Merge the shards of a dataset by links; with --pca-components also reduce them."""
    from vmr.features.merge import merge_features

    merge_features(
        shards=shards,
        statuses=statuses,
        output=output,
        coverage=coverage,
        moments=moments,
        pca_components=pca_components,
        train_split=train_split,
    )


@app.command()
def embed_queries(
    *,
    moments: Moments,
    vectors: Annotated[Path, typer.Option(help="GloVe text file.")],
    max_words: int = 25,
    output: Output,
    report: Annotated[Path, typer.Option(help="JSON of counts.")],
) -> None:
    """Tokenize the sentences and look their words up."""
    from vmr.queries.embed import embed_queries

    embed_queries(moments=moments, vectors=vectors, output=output, report=report, max_words=max_words)


@app.command()
def train(
    *,
    moments: Moments,
    features: Features,
    queries: Queries,
    manifests: Manifests,
    output_dir: Annotated[Path, typer.Option(help="Folder of the run.")],
    method: MethodName = "ci_mha",
    seed: int = 0,
    hidden: int = 512,
    query_hidden: int = 256,
    heads: int = 8,
    dropout: float = 0.2,
    lstm_dropout: float = 0.5,
    alignment: Alignment = "attention",
    max_steps: int = 128,
    segmentation_weight: float = 1.0,
    learning_rate: float = 1e-4,
    batch_size: int = 100,
    epochs: int = 100,
    patience: int = 20,
    gradient_clip: float = 1.0,
    selection: Selection = "validation",
    validation_fraction: float = 0.1,
    train_split: str = "train",
    test_splits: Annotated[list[str], typer.Option(help="Splits for `--selection test`.")] = [],  # noqa: B006
    precision: Precision = "auto",
    device: Device = "auto",
    threads: int = 1,
) -> None:
    """Train one method with one seed."""
    import torch

    from vmr.training.run import train_run

    torch.set_num_threads(threads)
    train_run(
        moments=moments,
        features=features,
        queries=queries,
        manifests=manifests,
        output_dir=output_dir,
        method=method,
        seed=seed,
        hidden=hidden,
        query_hidden=query_hidden,
        heads=heads,
        dropout=dropout,
        lstm_dropout=lstm_dropout,
        alignment=alignment,
        max_steps=max_steps,
        segmentation_weight=segmentation_weight,
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        patience=patience,
        gradient_clip=gradient_clip,
        selection=selection,
        validation_fraction=validation_fraction,
        train_split=train_split,
        test_splits=test_splits,
        precision=precision,
        device=device,
    )


@app.command()
def evaluate(
    *,
    run: Annotated[Path, typer.Option(help="Folder of the run.")],
    moments: Moments,
    features: Features,
    queries: Queries,
    manifests: Manifests,
    splits: Annotated[list[str], typer.Option(help="Splits to unite.")],
    split_name: Annotated[str, typer.Option(help="Name of the union in tables.")],
    top: int = 5,
    nms_threshold: float = 0.5,
    batch_size: int = 200,
    device: Device = "auto",
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")],
    features_label: Annotated[str, typer.Option(help="Name of the features in tables.")],
    predictions: Annotated[Path, typer.Option(help="Predictions to write (JSON lines).")],
    output: Output,
) -> None:
    """Predict with a trained run and score the predictions."""
    from vmr.evaluation.evaluate import evaluate_predictions
    from vmr.training.predict import predict_run

    predict_run(
        checkpoint=run / "checkpoint.safetensors",
        moments=moments,
        features=features,
        queries=queries,
        manifests=manifests,
        splits=splits,
        output=predictions,
        top=top,
        nms_threshold=nms_threshold,
        device=device,
        batch_size=batch_size,
    )
    evaluate_predictions(
        predictions=predictions,
        moments=moments,
        manifests=manifests,
        splits=splits,
        split_name=split_name,
        output=output,
        run=run / "run.json",
        labels={"dataset": dataset, "features": features_label},
    )


@app.command()
def baselines(
    *,
    moments: Moments,
    manifests: Manifests,
    train_split: str = "train",
    splits: Annotated[list[str], typer.Option(help="Splits to unite.")],
    split_name: Annotated[str, typer.Option(help="Name of the union in tables.")],
    seed: int = 0,
    output: Output,
) -> None:
    """Score the baselines that see neither video nor query."""
    from vmr.evaluation.baselines import compute_baselines

    compute_baselines(
        moments=moments,
        manifests=manifests,
        train_split=train_split,
        splits=splits,
        split_name=split_name,
        output=output,
        seed=seed,
    )


@app.command()
def make_table(
    *,
    metrics: Annotated[list[Path], typer.Option(help="metrics.json of each run and split.")],
    baselines: Annotated[list[Path], typer.Option(help="Baselines of each split.")],
    published: Annotated[Path | None, typer.Option(help="CSV of published figures.")] = None,
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")],
    title: Annotated[str | None, typer.Option(help="What the table calls it.")] = None,
    output_csv: Annotated[Path, typer.Option(help="Table to write.")],
    output_md: Annotated[Path, typer.Option(help="The same for reading.")],
) -> None:
    """Gather published, blind and computed rows into the table."""
    from vmr.evaluation.tables import make_table

    make_table(
        metrics=metrics,
        baselines=baselines,
        published=published,
        output_csv=output_csv,
        output_md=output_md,
        dataset=dataset,
        title=title,
    )


@assets_app.command("list")
def list_assets(
    cache: Annotated[Path, typer.Option(help="Folder of the downloads.")] = Path("data/assets/downloads"),
) -> None:
    """List every asset: what it is, where it comes from, its licence."""
    from vmr.assets.prepare import describe_assets

    typer.echo(describe_assets(cache=cache))


@assets_app.command("prepare")
def prepare_asset(
    name: Annotated[str, typer.Argument(help="Name, as `vmr assets list` prints it.")],
    *,
    output: Output,
    cache: Annotated[Path, typer.Option(help="Folder of the downloads.")] = Path("data/assets/downloads"),
) -> None:
    """Fetch or unpack an asset and write it in the form that the stages read."""
    from vmr.assets.prepare import prepare_asset

    prepare_asset(name, output=output, cache=cache)


ConfigPath = Annotated[Path, typer.Argument(help="The YAML file.")]


@config_app.command("check")
def check_config(path: ConfigPath = Path("config.yaml")) -> None:
    """Check a configuration; silent when it is right."""
    from vmr.config import read_config

    read_config(path)


@config_app.command("show")
def show_config(
    path: ConfigPath = Path("config.yaml"),
    dataset: Annotated[str | None, typer.Option(help="Settings as they hold for this dataset.")] = None,
) -> None:
    """Print every setting with the defaults filled in."""
    import yaml

    from vmr.config import read_config

    config = read_config(path)
    shown = config.for_dataset(dataset) if dataset else config
    typer.echo(yaml.safe_dump(shown.model_dump(), sort_keys=False, allow_unicode=True), nl=False)


@config_app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema that `workflow/schemas/config.schema.json` holds."""
    from vmr.config import schema_text

    typer.echo(schema_text(), nl=False)


@features_app.command("info")
def features_info(path: Annotated[Path, typer.Argument(help="Feature file.")]) -> None:
    """Print what made a feature file and what is in it."""
    from vmr.features.inspect import features_info

    typer.echo(features_info(path))


@features_app.command("diff")
def features_diff(
    first: Annotated[Path, typer.Argument(help="Feature file.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
) -> None:
    """Compare two feature files video by video: steps, seconds, cosine."""
    from vmr.features.inspect import features_diff

    typer.echo(features_diff(first, second).to_string(index=False))


@features_app.command("import")
def import_features(
    source: Annotated[Path, typer.Argument(help="An HDF5 file, or a folder of .npy files named by video ids.")],
    *,
    layout: Annotated[str, typer.Option(help="hdf5 or npy_folder.")],
    moments: Moments,
    manifests: Manifests = [],  # noqa: B006
    fps: Annotated[float | None, typer.Option(help="Frames a second that the features were made at.")] = None,
    stride: Annotated[float | None, typer.Option(help="Frames between two features.")] = None,
    window: Annotated[float | None, typer.Option(help="Frames that a feature sees.")] = None,
    kind: Annotated[str, typer.Option(help="What to call them.")] = "imported",
    max_failed_share: float = 0.5,
    output: Output,
    coverage: Annotated[Path, typer.Option(help="CSV of what became of each video.")],
) -> None:
    """Import features that you hold; without fps and stride, steps are spread over each video."""
    from vmr.features.importers import import_features

    import_features(
        source=source,
        layout=layout,
        output=output,
        coverage=coverage,
        moments=moments,
        manifests=manifests,
        fps=fps,
        stride=stride,
        window=window,
        kind=kind,
        max_failed_share=max_failed_share,
    )


def _assignment(entry: str, option: str) -> tuple[str, str]:
    name, separator, value = entry.partition("=")
    if not separator or not name or not value:
        raise ConfigError(f"{option} {entry}: expected NAME=VALUE.")
    return name, value
