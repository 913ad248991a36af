"""The only definition of the configuration: `config.yaml` is checked by it, the JSON Schema generated from it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from vmr.errors import ConfigError
from vmr.feature_sections import NAME, FeatureSettings, Positive, Probability, Section, Share, SimulateSettings
from vmr.names import (
    FORMATS_WITH_DURATIONS,
    SIMULATED,
    Alignment,
    AnnotationFormat,
    Device,
    ExtractorName,
    MethodName,
    Precision,
    Selection,
)

Model = TypeVar("Model", bound=BaseModel)

# What a dataset with `videos_of` takes from that one.
_BORROWED = ("videos", "extractors", "shards")
DATASET_NAME = re.compile(NAME)


class VideoSettings(Section):
    """How videos are probed and decoded."""

    fps: Annotated[float, Field(gt=0, le=240, description="Frames a second of the frame store.")] = 24.0
    short_side: Annotated[int, Field(ge=112, le=2160, description="Shorter side of stored frames, pixels.")] = 256
    probe_timeout_sec: Annotated[float, Field(gt=0, description="Time limit of ffprobe for one video.")] = 60.0
    decode_timeout_sec: Annotated[
        float, Field(gt=0, description="Time limit of decoding one video, for each minute that it lasts (or begins).")
    ] = 120.0
    max_failed_share: Annotated[
        Share, Field(description="Share of a shard's present videos that may fail before the job fails.")
    ] = 0.5


class QuerySettings(Section):
    """How sentences become word vectors."""

    vectors: Annotated[str, Field(description="Name of an asset (`vmr assets list`) or path of GloVe text.")] = (
        "glove_6b_50d"
    )
    max_words: Annotated[int, Field(gt=0, description="Longer sentences are cut, and counted.")] = 25


class ModelSettings(Section):
    """Sizes of the network."""

    hidden: Annotated[int, Field(gt=0, description="Width D of the fused embeddings.")] = 512
    query_hidden: Annotated[int, Field(gt=0, description="Width of the query LSTM, each direction.")] = 256
    heads: Annotated[int, Field(gt=0, description="Heads of every attention.")] = 8
    dropout: Probability = 0.2
    lstm_dropout: Annotated[Probability, Field(description="Dropout after LSTMs.")] = 0.5
    alignment: Annotated[Alignment, Field(description="Reading of eqs 7-9, see docs/decisions.md.")] = "attention"
    max_steps: Annotated[int, Field(gt=0, description="Longer videos are mean-pooled to so many steps.")] = 128
    segmentation_weight: Annotated[float, Field(ge=0, description="Weight of the segmentation loss.")] = 1.0

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelSettings:
        if self.hidden % self.heads:
            raise ValueError(f"model.hidden ({self.hidden}) must be divisible by model.heads ({self.heads})")
        if self.hidden % 2:
            raise ValueError(f"model.hidden ({self.hidden}) must be even, since LSTMs have two directions")
        return self


class TrainingSettings(Section):
    """How networks are trained."""

    methods: Annotated[list[MethodName], Field(min_length=1)] = ["mha", "ci_mha_wo_ms", "ci_mha"]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0, 1, 2, 3, 4]
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    learning_rates: Annotated[
        dict[MethodName, Annotated[float, Field(gt=0)]], Field(description="Of methods that learn better at another.")
    ] = {}
    batch_size: Positive = 100
    epochs: Annotated[int, Field(gt=0, description="At most so many.")] = 100
    patience: Annotated[int, Field(gt=0, description="Stop after so many epochs without a better validation.")] = 20
    gradient_clip: Annotated[float, Field(gt=0, description="Largest norm of the gradient.")] = 1.0
    selection: Annotated[
        Selection,
        Field(description="Where the best epoch is chosen; `test` only to compare with papers that did, labelled."),
    ] = "validation"
    validation_fraction: Annotated[float, Field(gt=0, lt=1, description="Share of the training videos held out.")] = 0.1
    precision: Precision = "auto"
    device: Device = "auto"
    threads: Annotated[int, Field(gt=0, description="CPU threads of one training run.")] = 1

    @field_validator("methods", "seeds")
    @classmethod
    def _unique(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) != len(values):
            raise ValueError(f"names something twice: {values}")
        return values


class EvaluationSettings(Section):
    """How predictions are made and scored."""

    top: Annotated[int, Field(ge=5, description="Spans kept for a query (R@5 needs five).")] = 5
    nms_threshold: Annotated[
        float, Field(gt=0, le=1, description="Spans that overlap a better one by more are left out of the top n.")
    ] = 0.5
    batch_size: Positive = 200


class ReportSettings(Section):
    """What the report shows of single queries."""

    cases: Annotated[int, Field(ge=0, le=50, description="Best, median and worst queries shown, so many each.")] = 3
    random_cases: Annotated[int, Field(ge=0, le=200, description="Queries drawn by chance.")] = 9
    thumbnails: Annotated[int, Field(ge=0, le=24, description="Pictures of a film strip; 0: none.")] = 8
    seed: Annotated[int, Field(ge=0, description="Of the draw.")] = 0


class RenderSettings(Section):
    """A dataset that the workflow renders itself (the demo)."""

    train_videos: Positive
    test_videos: Positive
    duration_sec: Annotated[float, Field(ge=3)]
    seed: Annotated[int, Field(ge=0)] = 1


class DatasetSettings(Section):
    """One dataset: where its annotations and videos lie, and what differs from the general settings."""

    title: Annotated[str, Field(description="Name in tables.")]
    annotation_format: AnnotationFormat
    annotations: Annotated[dict[str, list[str]], Field(description="Files of each split.", min_length=1)]
    durations: Annotated[
        list[str], Field(description="CSV files with columns id and length (s); without any, ffprobe's durations.")
    ] = []
    videos: Annotated[
        str | None, Field(description="Folder of the video files, named by the ids; needless for imported features.")
    ] = None
    videos_of: Annotated[
        str | None,
        Field(description="Dataset whose videos and features these annotations use; its settings hold here too."),
    ] = None
    further: Annotated[
        list[str], Field(description="Datasets whose rows follow in the table, once their annotation files are there.")
    ] = []
    train_split: str = "train"
    test_splits: Annotated[
        dict[str, list[str]], Field(description="Columns of the table: a name, and the splits it unites.", min_length=1)
    ]
    extractors: Annotated[list[ExtractorName], Field(min_length=1)] = ["i3d"]
    shards: Annotated[int, Field(gt=0, le=10_000, description="Videos travel in so many jobs.")] = 8
    published: Annotated[str | None, Field(description="CSV of published figures for the table.")] = None
    expected_counts: Annotated[
        dict[str, dict[str, int]], Field(description="Known counts, checked against what is read.")
    ] = {}
    fetch: Annotated[dict[str, str], Field(description="File: asset that it is fetched from when missing.")] = {}
    fetch_videos: Annotated[
        str | None, Field(description="Asset that the folder of videos is fetched from when there is none.")
    ] = None
    render: Annotated[RenderSettings | None, Field(description="Render the dataset into its folders.")] = None
    simulate: Annotated[SimulateSettings | None, Field(description="Simulate the features that are imported.")] = None
    overrides: Annotated[
        dict[str, dict[str, Any]], Field(description="Settings of the sections below that differ for this dataset.")
    ] = {}

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
            if not re.fullmatch(r"[A-Za-z0-9_+-]+", name):
                raise ValueError(f"`{name}` is not a name for a split: letters, digits, _, + and - only")
            if not entries:
                raise ValueError(f"`{name}` is empty")
        return value

    @model_validator(mode="after")
    def _rendered_into_a_folder(self) -> DatasetSettings:
        if self.render and self.videos is None:
            raise ValueError("videos: a rendered dataset needs the folder to render into")
        return self

    @model_validator(mode="after")
    def _simulated_is_labelled(self) -> DatasetSettings:
        if self.simulate is None:
            return self
        if self.published:
            raise ValueError("published: figures of real features do not belong beside simulated ones; leave it out")
        if self.annotation_format != "charades_sta" or len(self.durations) != 1:
            raise ValueError("a simulated dataset has annotation_format charades_sta and one file of durations")
        if SIMULATED not in self.title:
            raise ValueError(f"title: tables of simulated features must say so; `{SIMULATED}` is not in {self.title!r}")
        several = [split for split, files in self.annotations.items() if len(files) != 1]
        unknown = [split for split in self.simulate.videos if split not in self.annotations]
        if several or unknown:
            raise ValueError(
                f"simulate writes one file for each split of annotations; wrong: {', '.join(several + unknown)}"
            )
        return self

    @property
    def has_durations(self) -> bool:
        """Whether the annotations tell how long videos are, so that no video must be asked."""
        return bool(self.durations) or self.annotation_format in FORMATS_WITH_DURATIONS

    @model_validator(mode="after")
    def _splits_exist(self) -> DatasetSettings:
        for name in [self.train_split, *(split for splits in self.test_splits.values() for split in splits)]:
            if name not in self.annotations:
                raise ValueError(f"no annotations for the split `{name}`; there are: {', '.join(self.annotations)}")
        return self


class Settings(Section):
    """The sections that apply to one dataset, its overrides merged in."""

    video: VideoSettings = VideoSettings()
    features: FeatureSettings
    queries: QuerySettings = QuerySettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()


class Config(Settings):
    """The whole of `config.yaml`."""

    datasets: Annotated[dict[str, DatasetSettings], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _borrow(cls, values: Any) -> Any:
        """A dataset with `videos_of` takes from that one what belongs to videos and features."""
        datasets = values.get("datasets") if isinstance(values, Mapping) else None
        if not isinstance(datasets, Mapping):
            return values
        filled = dict(datasets)
        for name, section in datasets.items():
            other = section.get("videos_of") if isinstance(section, Mapping) else None
            if other is None:
                continue
            source = datasets.get(other)
            if not isinstance(source, Mapping) or "videos_of" in source:
                own = [known for known, entry in datasets.items() if "videos_of" not in (entry or {})]
                raise ValueError(
                    f"{name}.videos_of: there is no dataset `{other}` with videos of its own{_nearest(str(other), own)}"
                )
            if wrong := sorted({"render", *_BORROWED} & set(section)):
                raise ValueError(f"{name}.{wrong[0]}: leave it out, it comes from {other}")
            filled[name] = {**section, **{key: source[key] for key in _BORROWED if key in source}}
        return {**values, "datasets": filled}

    @model_validator(mode="after")
    def _further_datasets_exist(self) -> Config:
        for name, dataset in self.datasets.items():
            for other in dataset.further:
                if other not in self.datasets:
                    raise ValueError(
                        f"datasets.{name}.further: there is no dataset `{other}`{_nearest(other, list(self.datasets))}"
                    )
            splits = [split for other in (name, *dataset.further) for split in self.datasets[other].test_splits]
            if len(set(splits)) < len(splits):
                raise ValueError(
                    f"datasets.{name}.further: the table would have two splits of one name; rename in test_splits"
                )
        return self

    @model_validator(mode="after")
    def _imports_belong_to_datasets(self) -> Config:
        if self.features.import_ is not None:
            raise ValueError("features.import holds for one dataset: write it into `overrides: {features: ...}` there")
        return self

    @field_validator("datasets")
    @classmethod
    def _dataset_names(cls, value: dict[str, DatasetSettings]) -> dict[str, DatasetSettings]:
        for name in value:
            if not DATASET_NAME.fullmatch(name):
                raise ValueError(f"`{name}` is not a name for a dataset: letters, digits, _ and - only")
        return value

    def for_dataset(self, name: str) -> Settings:
        """The settings of one dataset.

        Args:
            name: a key of `datasets`.

        Raises:
            ConfigError: there is no such dataset, or its overrides name unknown or impossible settings.
        """
        if name not in self.datasets:
            raise ConfigError(
                f"config.yaml has no dataset `{name}`{_nearest(name, list(self.datasets))}. "
                f"There are: {', '.join(self.datasets)}; add a section under `datasets`."
            )
        merged = self.model_dump(exclude={"datasets"}, by_alias=True)
        if source := self.datasets[name].videos_of:
            merged = _merge(merged, self.datasets[source].overrides)
        merged = _merge(merged, self.datasets[name].overrides)
        settings = _validated(Settings, merged, f"datasets.{name}.overrides")
        if source and "import" in self.datasets[name].overrides.get("features", {}):
            raise ConfigError(
                f"datasets.{name}.overrides.features.import: its features are those of {source}; import them there."
            )
        self._check_simulation(name, settings)
        if settings.features.import_ is None:
            for extractor in self.datasets[name].extractors:
                if extractor not in settings.features.extractors:
                    raise ConfigError(f"datasets.{name}.extractors: no section `features.{extractor}` in config.yaml.")
            if self.datasets[name].videos is None:
                raise ConfigError(
                    f"datasets.{name}.videos: no folder of videos is named. Name it, or take features that you hold by "
                    "`overrides: {features: {import: {source: ..., layout: ...}}}`."
                )
        return settings

    def _check_simulation(self, name: str, settings: Settings) -> None:
        simulate, held = self.datasets[name].simulate, settings.features.import_
        if simulate is None:
            return
        source = self.datasets.get(simulate.source)
        if source is None or source.simulate:
            real = [other for other, section in self.datasets.items() if not section.simulate]
            raise ConfigError(
                f"datasets.{name}.simulate.source: no real dataset `{simulate.source}`"
                f"{_nearest(simulate.source, real)}."
            )
        absent = [split for split in self.datasets[name].annotations if split not in source.annotations]
        if absent:
            raise ConfigError(
                f"datasets.{name}.annotations: {simulate.source} has no split {', '.join(absent)}; it has: "
                f"{', '.join(source.annotations)}."
            )
        if held is None or held.layout != "hdf5" or not held.kind.startswith(SIMULATED):
            raise ConfigError(
                f"datasets.{name}.overrides.features.import: a simulated dataset imports the HDF5 file that is "
                f"simulated, with a kind that begins with `{SIMULATED}`, so that every table says what it is."
            )
        if held.fps is None or held.stride is None or held.stride != int(held.stride):
            raise ConfigError(
                f"datasets.{name}.overrides.features.import: fps and a whole stride are needed, since features are "
                "simulated at them."
            )

    def feature_kinds(self, name: str) -> list[str]:
        """Names of the features that a dataset is trained on: its extractors, or the kind that it imports.

        Args:
            name: a key of `datasets`.

        Raises:
            ConfigError: as `for_dataset`.
        """
        imported = self.for_dataset(name).features.import_
        return [imported.kind] if imported else list(self.datasets[name].extractors)


def load_config(values: Mapping[str, Any]) -> Config:
    """Check the content of `config.yaml`.

    Args:
        values: the parsed YAML.

    Raises:
        ConfigError: names every wrong entry, with the nearest known key for unknown ones.
    """
    config = _validated(Config, dict(values), "config.yaml")
    for name in config.datasets:
        config.for_dataset(name)
    return config


def read_config(path: Path) -> Config:
    """Read and check a YAML file; tags that would build Python objects are refused.

    Raises:
        ConfigError: missing, not YAML, or not a configuration.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such configuration file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not plain YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, found {type(values).__name__}.")
    return load_config(values)


def _merge(base: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = deepcopy(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _validated(model: type[Model], values: dict[str, Any], source: str) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{source}: {len(error.errors())} entries are wrong:"]
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                key = str(problem["loc"][-1])
                known = _known_keys(model, problem["loc"][:-1])
                lines.append(f"  {where}: there is no such setting{_nearest(key, known)}")
            else:
                lines.append(f"  {where}: {problem['msg']} (found: {problem['input']!r:.80})")
        raise ConfigError("\n".join(lines)) from error


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    node: Any = schema
    for part in location:
        properties = node.get("properties", {})
        node = properties.get(str(part), node.get("additionalProperties", {}))
        for choice in [node, *node.get("anyOf", [])]:
            if "$ref" in choice:
                node = definitions[choice["$ref"].rsplit("/", 1)[-1]]
                break
    return list(node.get("properties", {}))


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else (f"; known: {', '.join(known)}" if known else "")


def schema_text() -> str:
    """The JSON Schema of `config.yaml`, as text that ends in a new line."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
