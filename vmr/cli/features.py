"""Commands from frames to features: extract, merge, look at, compare, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vmr.cli.groups import Coverage, Manifests, Moments, Output, app, features_app, per_shard
from vmr.config.features import ExtractorSettings, FeatureSettings, ImportSettings
from vmr.names import Device, ExtractorName, Mode, Padding, Precision

# Not inside the commands: the digest of a stage's code counts, of what a module imports at its top, only what is used.
from vmr.settings.checks import validated


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
    statuses: Coverage,
) -> None:
    """Extract the features of a shard."""
    settings: dict[str, Any] = {
        "window": window, "stride": stride, "mode": mode, "padding": padding, "device": device, "dtype": dtype,
        "batch_size": batch_size, "max_failed_share": max_failed_share,
    }  # fmt: skip
    # A path whatever its form: the section takes names of assets, too.
    validated(FeatureSettings, {extractor: {**settings, "weights": f"./{weights}"}}, "vmr extract")

    from vmr.features.extract import extract_shard
    from vmr.pipeline.stages import STAGES, extract_stage

    extract_shard(
        frames=frames,
        manifest=manifest,
        output=output,
        statuses=statuses,
        extractor=extractor,
        weights=weights,
        mean=mean,
        **settings,
        code_digest=STAGES[extract_stage(extractor)].digest(),
    )


@app.command()
def merge_features(
    *,
    shards: Annotated[list[Path], per_shard(help="Feature files of the shards.")],
    statuses: Annotated[list[Path], per_shard(help="Their status files.")],
    moments: Moments,
    pca_components: int | None = None,
    pca: Annotated[Path | None, typer.Option(help="A PCA made elsewhere (.npz or HDF5).")] = None,
    device: Device = "auto",
    train_split: str = "train",
    output: Output,
    coverage: Coverage,
) -> None:
    """Merge the shards of a dataset by links; with --pca-components or --pca also reduce them."""
    # The rest of the section is about extraction, which is done.
    extraction: dict[str, Any] = {"weights": "./unused", "window": 1, "stride": 1}
    validated(ExtractorSettings, {**extraction, "pca_components": pca_components}, "vmr merge-features")

    from vmr.features.merge import merge_features
    from vmr.pipeline.stages import STAGES

    merge_features(
        shards=shards,
        statuses=statuses,
        output=output,
        coverage=coverage,
        moments=moments,
        pca_components=pca_components,
        pca_file=pca,
        device=device,
        train_split=train_split,
        code_digest=STAGES["merge_features"].digest(),
    )


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
    coverage: Coverage,
) -> None:
    """Import features that you hold; without fps and stride, steps are spread over each video."""
    settings: dict[str, Any] = {
        "layout": layout, "fps": fps, "stride": stride, "window": window, "max_failed_share": max_failed_share,
    }  # fmt: skip
    validated(ImportSettings, {**settings, "source": str(source)}, "vmr features import")

    from vmr.features.importers import import_features
    from vmr.pipeline.stages import STAGES

    import_features(
        source=source,
        output=output,
        coverage=coverage,
        moments=moments,
        manifests=manifests,
        kind=kind,
        **settings,
        code_digest=STAGES["import_features"].digest(),
    )
