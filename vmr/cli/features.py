"""Commands from frames to features: extract, merge, look at, compare, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmr.cli.groups import (
    STAGES,
    Coverage,
    Manifests,
    Moments,
    Output,
    TrainSplit,
    app,
    command_from_sections,
    features_app,
    hands_to,
    per_shard,
)
from vmr.names import ImportLayout

if TYPE_CHECKING:
    from vmr.cli.sections import ExtractorName, ExtractorSettings, Fields, ImportSettings, ReductionSettings


@command_from_sections(app, rich_help_panel=STAGES)
@hands_to("vmr.features.extract:extract_shard", stage="extract_{extractor}")
def extract(
    *,
    frames: Annotated[Path, typer.Option(help="Frame store of the shard.")],
    manifest: Annotated[Path, typer.Option(help="Manifest with what decoding gave.")],
    extractor: Annotated[ExtractorName, typer.Option(help="Network that makes the features.")] = "i3d",
    settings: Annotated[
        ExtractorSettings,
        Fields(
            without=("pca_components", "pca"),
            paths={"weights": "Weights, prepared or your own.", "mean": "c3d: mean clip (.npy)."},
        ),
    ],
    output: Output,
    statuses: Coverage,
) -> None:
    """Extract the features of a shard."""


@command_from_sections(app, rich_help_panel=STAGES)
@hands_to("vmr.features.merge:merge_features", stage="merge_features")
def merge_features(
    *,
    shards: Annotated[list[Path], per_shard(help="Feature files of the shards.")],
    statuses: Annotated[list[Path], per_shard(help="Their status files.")],
    moments: Moments,
    reduction: Annotated[ReductionSettings, Fields(paths={"pca": "A PCA made elsewhere (.npz or HDF5)."})],
    train_split: TrainSplit = "train",
    output: Output,
    coverage: Coverage,
) -> None:
    """Merge the shards of a dataset by links; with --pca-components or --pca also reduce them."""


@features_app.command("info")
@hands_to("vmr.features.inspect:features_info")
def features_info(path: Annotated[Path, typer.Argument(help="Feature file.")]) -> None:
    """Print what made a feature file and what is in it."""


@features_app.command("export")
@hands_to("vmr.features.hand_out:hand_out_features", reads=lambda features, **_: [features])
def export(
    features: Annotated[Path, typer.Argument(help="Feature file.")],
    *,
    layout: Annotated[ImportLayout, typer.Option(help="npy_folder: a file a video; hdf5: one, a dataset a video.")],
    output: Output,
) -> None:
    """Write features for programs of other people: ID.npy a video, or one HDF5 file without links."""


@features_app.command("diff")
def features_diff(
    first: Annotated[Path, typer.Argument(help="Feature file.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
) -> None:
    """Compare two feature files video by video: steps, seconds, cosine."""
    from vmr.features.inspect import features_diff

    typer.echo(features_diff(first, second).to_string(index=False))


@command_from_sections(features_app, "import")
@hands_to("vmr.features.importers:import_features", stage="import_features")
def import_features(
    settings: Annotated[ImportSettings, Fields(argument="source")],
    *,
    moments: Moments,
    manifests: Manifests = [],  # noqa: B006
    output: Output,
    coverage: Coverage,
) -> None:
    """Import features that you hold; without fps and stride, steps are spread over each video."""
