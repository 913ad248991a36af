"""Sections of `config.yaml` about features: extracted, imported or simulated."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import AfterValidator, Field, model_validator

from vmr.assets.registry import ASSETS, Preparation, is_path
from vmr.names import Device, ExtractorName, ImportLayout, Mode, Padding, Precision
from vmr.settings.checks import nearest
from vmr.settings.section import Positive, Section, Seed, Share

NAME = "[A-Za-z0-9][A-Za-z0-9_-]*"  # of datasets and kinds of features: they become parts of paths


def of_assets(*preparations: Preparation, or_path: bool = False) -> AfterValidator:
    """A value must name an asset that is prepared in one of these ways, or with `or_path` a file."""
    known = [name for name, asset in ASSETS.items() if asset.preparation in preparations]

    def check(value: str) -> str:
        if value not in known and not (or_path and is_path(value)):
            path = ", and a path has a folder or an extension" if or_path else ""
            raise ValueError(f"no asset for this is called `{value}`{path}{nearest(value, known)}")
        return value

    return AfterValidator(check)


class ExtractorSettings(Section):
    """How one kind of features is made. Unset numbers take the extractor's own (the paper's) values."""

    weights: Annotated[
        str,
        Field(description="Name of an asset (`vmr assets list`) or path of a file."),
        of_assets("i3d_flax", "i3d_torch", "c3d_torch", or_path=True),
    ]
    window: Annotated[int, Field(gt=0, description="Frames that a feature sees.")]
    stride: Annotated[int, Field(gt=0, description="Frames between two features.")]
    mode: Annotated[Mode, Field(description="Exact windows, or one pass over the video (i3d only).")] = "windows"
    padding: Annotated[Padding, Field(description="Replicate the first and last frame, or use full windows only.")] = (
        "edge"
    )
    device: Annotated[Device, Field(description="auto: CUDA when there, else the CPU.")] = "auto"
    dtype: Annotated[Precision, Field(description="auto: bfloat16 where the hardware multiplies it natively.")] = "auto"
    batch_size: Annotated[int | None, Field(gt=0, description="Windows at once; empty: by memory.")] = None
    pca_components: Annotated[
        int | None, Field(gt=0, description="Reduce to so many numbers by a PCA fitted on training videos.")
    ] = None
    pca: Annotated[
        str | None, Field(description="A PCA made elsewhere (.npz or HDF5: mean, components); empty: fit one.")
    ] = None
    mean: Annotated[str | None, Field(description="c3d: path of the Sports-1M mean clip (.npy), if at hand.")] = None
    max_failed_share: Annotated[
        Share, Field(description="Share of a shard's decoded videos that may fail before the job fails.")
    ] = 0.5


class ImportSettings(Section):
    """Features that somebody made already, taken instead of decoding; see `vmr.features.importers`."""

    source: Annotated[str, Field(description="The HDF5 file, or the folder of .npy, .npz or .pt files.", min_length=1)]
    layout: Annotated[ImportLayout, Field(description="A dataset (or group) per video, or a file per video.")]
    fps: Annotated[
        float | None,
        Field(gt=0, description="Frames a second that they were made at; empty: steps are spread over each video."),
    ] = None
    stride: Annotated[float | None, Field(gt=0, description="Frames between two features; given with fps.")] = None
    window: Annotated[
        float | None, Field(gt=0, description="Frames that a feature sees, where only whole windows were used.")
    ] = None
    kind: Annotated[str, Field(description="Name of the features in paths and tables.", pattern=f"^{NAME}$")] = (
        "imported"
    )
    max_failed_share: Annotated[
        Share, Field(description="Share of the videos found that may be unusable before the job fails.")
    ] = 0.5

    @model_validator(mode="after")
    def _fps_and_stride(self) -> ImportSettings:
        if (self.fps is None) != (self.stride is None):
            raise ValueError("fps and stride are given both or neither: a step lasts stride / fps seconds")
        if self.window is not None and self.fps is None:
            raise ValueError("window needs fps and stride: steps then lie in the middle of their windows")
        return self


class FeatureSettings(Section):
    """How features are made: a section for each extractor in use, or what is taken instead."""

    i3d: ExtractorSettings | None = None
    c3d: ExtractorSettings | None = None
    i3d_r50: ExtractorSettings | None = None
    slow_r50: ExtractorSettings | None = None
    import_: Annotated[
        ImportSettings | None,
        Field(alias="import", description="Take features that are at hand; only in a dataset's overrides."),
    ] = None

    @model_validator(mode="after")
    def _continuous_is_i3d(self) -> FeatureSettings:
        for name, extractor in self.extractors.items():
            if extractor.mode == "continuous" and name != "i3d":
                raise ValueError(f"{name}.mode: only i3d has the mode `continuous`")
        return self

    @property
    def extractors(self) -> dict[ExtractorName, ExtractorSettings]:
        """The sections of extractors that there are."""
        sections = {name: getattr(self, name) for name in get_args(ExtractorName)}
        return {name: section for name, section in sections.items() if section is not None}

    def __getitem__(self, name: ExtractorName) -> ExtractorSettings:
        return self.extractors[name]


class SimulateSettings(Section):
    """A dataset whose features are simulated from the sentences of another; not in the paper.

    The numbers are those of `vmr.synthetic.planting.Recipe`, which tells what each does. Upper bounds keep features
    within half precision, and what is computed within memory and hours.
    """

    source: Annotated[str, Field(description="The dataset whose moments are taken.")]
    videos: Annotated[dict[str, Positive], Field(description="Videos of a split; all of those not named.")] = {}
    seed: Annotated[Seed, Field(description="Another one gives other directions, noise and jitter.")] = 0
    dim: Annotated[int, Field(gt=0, le=65_536, description="Numbers of a feature.")] = 1024
    rank: Annotated[int, Field(gt=0, le=4096, description="Length of the hidden space of words and noise.")] = 64
    window: Annotated[int, Field(gt=0, le=10_000, description="Frames over which meaning and noise are averaged.")] = 64
    strength: Annotated[float, Field(gt=0, le=1000, description="Length of a moment's meaning.")] = 2.5
    noise: Annotated[
        list[Annotated[float, Field(ge=0, le=1000)]],
        Field(min_length=1, description="Levels of the noise, one of them for each video."),
    ] = [0.25, 0.5, 0.75]
    scene: Annotated[float, Field(ge=0, le=1000, description="Spread of what all steps of a video share.")] = 0.5
    jitter: Annotated[
        float, Field(ge=0, le=10, description="Spread of planted boundaries, share of a moment's length.")
    ] = 0.15
    word_share: Annotated[Share, Field(description="Chance that a content word can be seen in its moment.")] = 0.8
    distractors: Annotated[
        int, Field(ge=0, le=1000, description="Moments a video that show words where they do not belong.")
    ] = 2
