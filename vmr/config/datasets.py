"""The section of `config.yaml` that says what a dataset consists of."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from vmr.config.extractors import ExtractorName
from vmr.config.feature_sections import SimulateSettings, of_assets
from vmr.config.moved import moved
from vmr.names import FORMATS_WITH_DURATIONS, SIMULATED, SPLIT_NAME, AnnotationFormat
from vmr.settings.section import Section, Seed


class RenderSettings(Section):
    """A dataset that the workflow renders itself (the demo)."""

    train_videos: int = Field(default=40, gt=0, description="Videos to train on.")
    test_videos: int = Field(default=12, gt=0, description="Videos to test on.")
    duration_sec: float = Field(default=9.0, ge=3, description="Mean seconds of a video; lengths vary by 6 %.")
    seed: Seed = Field(default=1, description="Equal seeds give equal annotations, and equal videos by one ffmpeg.")


class DatasetSettings(Section):
    """One dataset: where its annotations and videos lie, and what differs from the general settings."""

    title: str = Field(description="Name in tables.")
    annotation_format: AnnotationFormat = Field(description="Format of the annotation files (docs/data.md).")
    annotations: dict[str, list[str]] = Field(description="One or more files of each split.", min_length=1)
    durations: list[str] = Field(
        default=[], description="CSV files with the columns id and length (seconds); without any, ffprobe's durations."
    )
    videos: str | None = Field(
        default=None,
        description="Folder of files named {video id}.mp4, .mkv, .webm, ...; needless for imported features.",
    )
    videos_of: str | None = Field(
        default=None, description="Dataset whose videos, features and overrides hold here, too."
    )
    further: list[str] = Field(
        default=[], description="Datasets whose rows follow in the table, once their annotation files are there."
    )
    train_split: str = Field(default="train", description="Split of the annotations to train on.")
    accept_wrong: bool = Field(
        default=False, description="Go on where `vmr doctor` finds something wrong, such as times that are no seconds."
    )
    test_splits: dict[str, list[str]] = Field(
        description="Splits of the table: a name, and the annotation splits that it unites.", min_length=1
    )
    extractors: list[ExtractorName] = Field(
        default=["i3d"], description="Any of i3d, c3d, i3d_r50, slow_r50: a block of rows each.", min_length=1
    )
    shards: int = Field(
        default=8, gt=0, le=10_000, description="Videos travel in so many jobs; each can be repeated alone."
    )
    published: str | None = Field(
        default=None, description="CSV of rows printed by papers, which come first in the table."
    )
    expected_counts: dict[str, dict[str, int]] = Field(
        default={}, description="Known counts; what differs in the files is logged."
    )
    known_size: dict[Literal["videos", "hours"], float] = Field(
        default={}, description="Videos and their hours, for `vmr plan` as long as the annotations are not there."
    )
    fetch: dict[str, Annotated[str, of_assets("archive_member", "copy")]] = Field(
        default={}, description="Files that are fetched when they are missing, and the asset of each."
    )
    fetch_videos: Annotated[str, of_assets("video_archive")] | None = Field(
        default=None, description="Asset that the folder `videos` is fetched from where it is not there."
    )
    render: RenderSettings | None = Field(default=None, description="Render the dataset into its folders.")
    simulate: SimulateSettings | None = Field(
        default=None, description="What the imported features are made of; `vmr simulate --help` explains each number."
    )
    overrides: dict[str, dict[str, Any]] = Field(
        default={}, description="Settings of the sections below that differ for this dataset."
    )

    @field_validator("overrides", mode="before")
    @classmethod
    def _moved(cls, value: Any) -> Any:
        return moved(value) if isinstance(value, Mapping) else value

    @field_validator("annotations", "test_splits", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: [entry] if isinstance(entry, str) else entry for name, entry in value.items()}
        return value

    @field_validator("annotations", "test_splits")
    @classmethod
    def _names(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, entries in value.items():
            if not SPLIT_NAME.fullmatch(name):
                raise ValueError(f"`{name}` is not a name for a split: letters, digits, _, + and - only")
            if not entries:
                raise ValueError(f"`{name}` is empty")
        return value

    @field_validator("fetch")
    @classmethod
    def _fetched_into_data(cls, value: dict[str, str]) -> dict[str, str]:
        for file in value:
            path = PurePosixPath(file)
            # `data/./x` is refused too: the rule that fetches compares names of files as they are written.
            if path.parts[:1] != ("data",) or len(path.parts) < 2 or ".." in path.parts or str(path) != file:
                raise ValueError(f"`{file}` is fetched into data/, so its name begins with data/ and has no `..`")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.render and self.videos is None:
            raise ValueError("videos: a rendered dataset needs the folder to render into")
        if self.simulate:
            self._check_simulation(self.simulate)
        for name in [self.train_split, *self.tested]:
            if name not in self.annotations:
                raise ValueError(f"no annotations for the split `{name}`; there are: {', '.join(self.annotations)}")
        return self

    def _check_simulation(self, simulate: SimulateSettings) -> None:
        if self.published:
            raise ValueError("published: figures of real features do not belong beside simulated ones; leave it out")
        if self.annotation_format != "charades_sta" or len(self.durations) != 1:
            raise ValueError("a simulated dataset has annotation_format charades_sta and one file of durations")
        if SIMULATED not in self.title:
            raise ValueError(f"title: tables of simulated features must say so; `{SIMULATED}` is not in {self.title!r}")
        several = [split for split, files in self.annotations.items() if len(files) != 1]
        unknown = [split for split in simulate.videos if split not in self.annotations]
        if several or unknown:
            raise ValueError(
                f"simulate writes one file for each split of annotations; wrong: {', '.join(several + unknown)}"
            )

    @property
    def has_durations(self) -> bool:
        """Whether the annotations tell how long videos are, so that no video must be asked."""
        return bool(self.durations) or self.annotation_format in FORMATS_WITH_DURATIONS

    @property
    def tested(self) -> list[str]:
        """The annotation splits that are scored, in alphabetical order."""
        return sorted({split for splits in self.test_splits.values() for split in splits})

    @property
    def annotation_files(self) -> list[str]:
        """The annotation files of all splits."""
        return [file for files in self.annotations.values() for file in files]
