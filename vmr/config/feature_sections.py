"""Sections of `config.yaml` about features: extracted, imported or simulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, create_model, field_validator, model_validator

from vmr.assets.registry import ASSETS, Preparation, is_path
from vmr.config.extractors import EXTRACTORS, ExtractorName
from vmr.names import Device, ImportLayout, Mode, Padding, Precision
from vmr.settings.checks import nearest
from vmr.settings.section import Positive, Section, Seed, Share

MOST_FPS = 240
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


class ReductionSettings(Section):
    """How the features of a dataset are reduced once they are extracted."""

    device: Device = Field(default="auto", description="auto: CUDA where it is there, else the CPU.")
    pca_components: int | None = Field(
        default=None, gt=0, description="Numbers that a PCA leaves, fitted on training videos only; empty: no PCA."
    )
    pca: str | None = Field(
        default=None,
        description="Path of a PCA made elsewhere (.npz or HDF5 with mean and components); empty: fit one.",
    )


class ExtractorSettings(ReductionSettings):
    """How one kind of features is made."""

    # In a configuration those that are left out are the extractor's own: `EXTRACTORS`.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required"))

    weights: Annotated[
        str,
        Field(description="An asset (`vmr assets list`) or the path of a file."),
        of_assets("i3d_flax", "i3d_torch", "c3d_torch", or_path=True),
    ]
    window: int = Field(gt=0, description="Frames that a feature sees (the papers: I3D 64, C3D 16).")
    stride: int = Field(gt=0, description="Frames between two features.")
    mode: Mode = Field(
        default="windows",
        description="windows: exact; continuous: one pass over the video, a quarter of the cost, for i3d only.",
    )
    crop: int | None = Field(
        default=None,
        ge=96,
        le=224,
        multiple_of=16,
        description="i3d: edge of the square that it sees; empty: 224. 112: a quarter of the cost, not published.",
    )
    padding: Padding = Field(
        default="edge",
        description="edge: first and last frame replicated, windows centred; valid: windows full of frames only.",
    )
    dtype: Precision = Field(
        default="auto", description="auto: bfloat16 where the hardware multiplies it itself, else float32."
    )
    batch_size: int | None = Field(default=None, gt=0, description="Windows at once; empty: by memory.")
    mean: str | None = Field(
        default=None, description="c3d: path of the Sports-1M mean clip (.npy); empty: the mean of each colour."
    )
    max_failed_share: Share = Field(
        default=0.5, description="Share of a shard's decoded videos that may fail before the job fails."
    )


class ImportSettings(Section):
    """Features that you hold, taken instead of extracted; see `vmr.features.importers`."""

    source: str = Field(
        description="The HDF5 file, or the folder of .npy, .npz, .pt or .pth files that are named by video ids.",
        min_length=1,
    )
    layout: ImportLayout = Field(
        description="hdf5: a dataset a video, or a group as in ActivityNet's file; npy_folder: a file a video."
    )
    pattern: str | None = Field(
        default=None,
        description="Name of a video's file or dataset, {id} for its id: `{id}_rgb.npy`, `{id}/rgb`; empty: the id.",
    )
    join: list[str] = Field(
        default=[],
        description="Further sources, whose numbers follow in each step: paths, a pattern behind them if needed.",
    )
    transposed: bool = Field(default=False, description="Arrays are stored as (numbers, steps).")
    fps: float | None = Field(
        default=None,
        gt=0,
        description="Frames a second that they were made at; empty: steps are spread over each video.",
    )
    stride: float | None = Field(default=None, gt=0, description="Frames between two features; needs fps.")
    window: float | None = Field(
        default=None,
        gt=0,
        description="Frames that a feature sees, where only windows full of frames were used; needs fps.",
    )
    kind: str = Field(default="imported", description="Name of the features in paths and tables.", pattern=f"^{NAME}$")
    max_failed_share: Share = Field(
        default=0.5, description="Share of the videos found that may be unusable before the job fails."
    )

    @field_validator("pattern")
    @classmethod
    def _one_id(cls, value: str | None) -> str | None:
        if value is not None and value.count("{id}") != 1:
            raise ValueError(f"expected {{id}} once, in the place of a video's id; found {value!r}")
        return value

    @model_validator(mode="after")
    def _fps_and_stride(self) -> Self:
        if (self.fps is None) != (self.stride is None):
            raise ValueError("fps and stride are given both or neither: a step lasts stride / fps seconds")
        if self.window is not None and self.fps is None:
            raise ValueError("window needs fps and stride: steps then lie in the middle of their windows")
        return self


if TYPE_CHECKING:
    _OfExtractors = Section
else:
    _OfExtractors = create_model(
        "_OfExtractors",
        __base__=Section,
        **{
            name: (ExtractorSettings, Field(ExtractorSettings(**entry.defaults), description=entry.about))
            for name, entry in EXTRACTORS.items()
        },
    )


class FeatureSettings(_OfExtractors):
    """How features are made: a section for each extractor, or what is taken instead."""

    import_: ImportSettings | None = Field(
        default=None,
        alias="import",
        description="Features that you hold, in place of videos; only in a dataset's overrides.",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {
            name: {**EXTRACTORS[name].defaults, **(own or {})}
            if name in EXTRACTORS and isinstance(own, Mapping | None)
            else own
            for name, own in values.items()
        }

    @model_validator(mode="after")
    def _continuous_is_i3d(self) -> FeatureSettings:
        for name in EXTRACTORS:
            extractor = self[name]
            if extractor.mode == "continuous" and name != "i3d":
                raise ValueError(f"{name}.mode: only i3d has the mode `continuous`")
            if extractor.crop is not None and name != "i3d":
                raise ValueError(f"{name}.crop: only i3d takes another one than its own")
        return self

    def __getitem__(self, name: ExtractorName) -> ExtractorSettings:
        section: ExtractorSettings = getattr(self, name)
        return section


class PlantingSettings(Section):
    """What simulated features are made of. None of this is in the paper.

    The defaults of `strength`, `noise` and `jitter` were chosen by trials on `charades_sim_small`. With them the best
    method lies near 50 at R@1, IoU 0.5. That is far above the best constant window, and far below a reader of the
    planted spans (docs/decisions.md). Upper bounds keep features within half precision, and what is computed within
    memory and hours.
    """

    videos: dict[str, Positive] = Field(
        default={}, description="Videos of a split, those with the smallest hashes of their ids; all of other splits."
    )
    seed: Seed = Field(default=0, description="Another one gives other directions, noise and jitter.")
    dim: int = Field(default=1024, gt=0, le=65_536, description="Numbers of a feature (I3D: 1024).")
    rank: int = Field(
        default=64, gt=0, le=4096, description="Length of the hidden space of words and noise; features span no more."
    )
    window: int = Field(
        default=64, gt=0, le=10_000, description="Frames over which meaning and noise are averaged (I3D: 64)."
    )
    strength: float = Field(default=2.5, gt=0, le=1000, description="Length of a moment's meaning in the hidden space.")
    noise: list[Annotated[float, Field(ge=0, le=1000)]] = Field(
        default=[0.25, 0.5, 0.75],
        min_length=1,
        description="Standard deviations of the hidden noise; each video has one of them.",
    )
    scene: float = Field(
        default=0.5, ge=0, le=1000, description="Standard deviation of what all steps of a video share."
    )
    jitter: float = Field(
        default=0.15,
        ge=0,
        le=10,
        description="Standard deviation of planted boundaries, as a share of the moment's length.",
    )
    word_share: Share = Field(
        default=0.8, description="Chance that a content word of a sentence can be seen in its moment."
    )
    distractors: int = Field(
        default=2, ge=0, le=1000, description="Moments of each video that show half of a sentence's words elsewhere."
    )


class SimulateSettings(PlantingSettings):
    """A dataset whose features are simulated from the sentences of another; not in the paper."""

    source: str = Field(description="The dataset whose moments are taken.")


class Recipe(PlantingSettings):
    """What simulated features are made of, with the rate of their steps: what the import will take them for."""

    fps: float = Field(default=24.0, gt=0, le=MOST_FPS, description="Frames a second, as in the frame store.")
    stride: int = Field(default=8, gt=0, le=10_000, description="Frames between two steps.")
