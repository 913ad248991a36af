"""Sections of `config.yaml` about features: extracted, imported or simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, create_model, field_validator, model_validator

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

    device: Annotated[Device, Field(description="auto: CUDA where it is there, else the CPU.")] = "auto"
    pca_components: Annotated[
        int | None, Field(gt=0, description="Numbers that a PCA leaves, fitted on training videos only; empty: no PCA.")
    ] = None
    pca: Annotated[
        str | None,
        Field(description="Path of a PCA made elsewhere (.npz or HDF5 with mean and components); empty: fit one."),
    ] = None


class ExtractorSettings(ReductionSettings):
    """How one kind of features is made."""

    weights: Annotated[
        str,
        Field(description="An asset (`vmr assets list`) or the path of a file."),
        of_assets("i3d_flax", "i3d_torch", "c3d_torch", or_path=True),
    ]
    window: Annotated[int, Field(gt=0, description="Frames that a feature sees (the papers: I3D 64, C3D 16).")]
    stride: Annotated[int, Field(gt=0, description="Frames between two features.")]
    mode: Annotated[
        Mode,
        Field(description="windows: exact; continuous: one pass over the video, a quarter of the cost, for i3d only."),
    ] = "windows"
    crop: Annotated[
        int | None,
        Field(
            ge=96,
            le=224,
            multiple_of=16,
            description="i3d: edge of the square that it sees; empty: 224. 112: a quarter of the cost, not published.",
        ),
    ] = None
    padding: Annotated[
        Padding,
        Field(
            description="edge: first and last frame replicated, windows centred; valid: windows full of frames only."
        ),
    ] = "edge"
    dtype: Annotated[
        Precision, Field(description="auto: bfloat16 where the hardware multiplies it itself, else float32.")
    ] = "auto"
    batch_size: Annotated[int | None, Field(gt=0, description="Windows at once; empty: by memory.")] = None
    mean: Annotated[
        str | None,
        Field(description="c3d: path of the Sports-1M mean clip (.npy); empty: the mean of each colour."),
    ] = None
    max_failed_share: Annotated[
        Share, Field(description="Share of a shard's decoded videos that may fail before the job fails.")
    ] = 0.5


class ImportSettings(Section):
    """Features that you hold, taken instead of extracted; see `vmr.features.importers`."""

    source: Annotated[
        str,
        Field(
            description="The HDF5 file, or the folder of .npy, .npz, .pt or .pth files that are named by video ids.",
            min_length=1,
        ),
    ]
    layout: Annotated[
        ImportLayout,
        Field(description="hdf5: a dataset a video, or a group as in ActivityNet's file; npy_folder: a file a video."),
    ]
    pattern: Annotated[
        str | None,
        Field(
            description="Name of a video's file or dataset, {id} for its id: `{id}_rgb.npy`, `{id}/rgb`; empty: the id."
        ),
    ] = None
    join: Annotated[
        list[str],
        Field(
            description="Further sources, whose numbers follow in each step: paths, a pattern behind them if needed."
        ),
    ] = []
    transposed: Annotated[bool, Field(description="Arrays are stored as (numbers, steps).")] = False
    fps: Annotated[
        float | None,
        Field(gt=0, description="Frames a second that they were made at; empty: steps are spread over each video."),
    ] = None
    stride: Annotated[float | None, Field(gt=0, description="Frames between two features; needs fps.")] = None
    window: Annotated[
        float | None,
        Field(gt=0, description="Frames that a feature sees, where only windows full of frames were used; needs fps."),
    ] = None
    kind: Annotated[str, Field(description="Name of the features in paths and tables.", pattern=f"^{NAME}$")] = (
        "imported"
    )
    max_failed_share: Annotated[
        Share, Field(description="Share of the videos found that may be unusable before the job fails.")
    ] = 0.5

    @field_validator("pattern")
    @classmethod
    def _one_id(cls, value: str | None) -> str | None:
        if value is not None and value.count("{id}") != 1:
            raise ValueError(f"expected {{id}} once, in the place of a video's id; found {value!r}")
        return value

    @model_validator(mode="after")
    def _fps_and_stride(self) -> ImportSettings:
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
            name: (ExtractorSettings | None, Field(None, description=entry.about)) for name, entry in EXTRACTORS.items()
        },
    )


class FeatureSettings(_OfExtractors):
    """How features are made: a section for each extractor in use, or what is taken instead."""

    import_: Annotated[
        ImportSettings | None,
        Field(alias="import", description="Features that you hold, in place of videos; only in a dataset's overrides."),
    ] = None

    @model_validator(mode="after")
    def _continuous_is_i3d(self) -> FeatureSettings:
        for name, extractor in self.extractors.items():
            if extractor.mode == "continuous" and name != "i3d":
                raise ValueError(f"{name}.mode: only i3d has the mode `continuous`")
            if extractor.crop is not None and name != "i3d":
                raise ValueError(f"{name}.crop: only i3d takes another one than its own")
        return self

    @property
    def extractors(self) -> dict[ExtractorName, ExtractorSettings]:
        """The sections of extractors that there are."""
        sections = {name: getattr(self, name) for name in EXTRACTORS}
        return {name: section for name, section in sections.items() if section is not None}

    def __getitem__(self, name: ExtractorName) -> ExtractorSettings:
        return self.extractors[name]


class PlantingSettings(Section):
    """What simulated features are made of. None of this is in the paper.

    The defaults of `strength`, `noise` and `jitter` were chosen by trials on `charades_sim_small`. With them the best
    method lies near 50 at R@1, IoU 0.5. That is far above the best constant window, and far below a reader of the
    planted spans (docs/decisions.md). Upper bounds keep features within half precision, and what is computed within
    memory and hours.
    """

    videos: Annotated[
        dict[str, Positive],
        Field(description="Videos of a split, those with the smallest hashes of their ids; all of other splits."),
    ] = {}
    seed: Annotated[Seed, Field(description="Another one gives other directions, noise and jitter.")] = 0
    dim: Annotated[int, Field(gt=0, le=65_536, description="Numbers of a feature (I3D: 1024).")] = 1024
    rank: Annotated[
        int, Field(gt=0, le=4096, description="Length of the hidden space of words and noise; features span no more.")
    ] = 64
    window: Annotated[
        int, Field(gt=0, le=10_000, description="Frames over which meaning and noise are averaged (I3D: 64).")
    ] = 64
    strength: Annotated[
        float, Field(gt=0, le=1000, description="Length of a moment's meaning in the hidden space.")
    ] = 2.5
    noise: Annotated[
        list[Annotated[float, Field(ge=0, le=1000)]],
        Field(min_length=1, description="Standard deviations of the hidden noise; each video has one of them."),
    ] = [0.25, 0.5, 0.75]
    scene: Annotated[
        float, Field(ge=0, le=1000, description="Standard deviation of what all steps of a video share.")
    ] = 0.5
    jitter: Annotated[
        float,
        Field(ge=0, le=10, description="Standard deviation of planted boundaries, as a share of the moment's length."),
    ] = 0.15
    word_share: Annotated[
        Share, Field(description="Chance that a content word of a sentence can be seen in its moment.")
    ] = 0.8
    distractors: Annotated[
        int, Field(ge=0, le=1000, description="Moments of each video that show half of a sentence's words elsewhere.")
    ] = 2


class SimulateSettings(PlantingSettings):
    """A dataset whose features are simulated from the sentences of another; not in the paper."""

    source: Annotated[str, Field(description="The dataset whose moments are taken.")]


class Recipe(PlantingSettings):
    """What simulated features are made of, with the rate of their steps: what the import will take them for."""

    fps: Annotated[float, Field(gt=0, le=MOST_FPS, description="Frames a second, as in the frame store.")] = 24.0
    stride: Annotated[int, Field(gt=0, le=10_000, description="Frames between two steps.")] = 8
