"""The whole of `config.yaml`: its datasets, and the settings that hold for each."""

import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from vmr.config.datasets import DatasetSettings
from vmr.config.feature_sections import MOST_FPS, NAME
from vmr.config.sections import Settings
from vmr.errors import ConfigError
from vmr.names import SIMULATED
from vmr.settings.checks import nearest, overlaid, validated

# What a dataset with `videos_of` takes from that one.
_BORROWED = ("videos", "extractors", "shards")
DATASET_NAME = re.compile(NAME)


class Config(Settings):
    """The whole of `config.yaml`."""

    datasets: dict[str, DatasetSettings] = Field(min_length=1)

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
            if not isinstance(other, str):
                continue
            source = datasets.get(other)
            if not isinstance(source, Mapping) or "videos_of" in source:
                own = [
                    known
                    for known, entry in datasets.items()
                    if not isinstance(entry, Mapping) or "videos_of" not in entry
                ]
                raise ValueError(
                    f"{name}.videos_of: there is no dataset `{other}` with videos of its own{nearest(str(other), own)}"
                )
            if wrong := sorted({"render", *_BORROWED} & set(section)):
                raise ValueError(f"{name}.{wrong[0]}: leave it out, it comes from {other}")
            filled[name] = {**section, **{key: source[key] for key in _BORROWED if key in source}}
        return {**values, "datasets": filled}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, dataset in self.datasets.items():
            for other in dataset.further:
                if other not in self.datasets:
                    raise ValueError(
                        f"datasets.{name}.further: there is no dataset `{other}`{nearest(other, list(self.datasets))}"
                    )
            splits = [split for other in (name, *dataset.further) for split in self.datasets[other].test_splits]
            if len(set(splits)) < len(splits):
                raise ValueError(
                    f"datasets.{name}.further: the table would have two splits of one name; rename in test_splits"
                )
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

        Raises:
            ConfigError: there is no such dataset, or its overrides name unknown or impossible settings.
        """
        if name not in self.datasets:
            hint = nearest(name, list(self.datasets))
            raise ConfigError(
                f"config.yaml has no dataset `{name}`{hint}{'' if hint.endswith('?') else '.'} A new one is a section "
                "under `datasets`."
            )
        # Without defaults: a variant of a method takes what is not set from that method.
        merged = self.model_dump(exclude={"datasets"}, by_alias=True, exclude_unset=True)
        if source := self.datasets[name].videos_of:
            merged = overlaid(merged, self.datasets[source].overrides)
        merged = overlaid(merged, self.datasets[name].overrides)
        settings = validated(Settings, merged, f"datasets.{name}.overrides")
        if source and "import" in self.datasets[name].overrides.get("features", {}):
            raise ConfigError(
                f"datasets.{name}.overrides.features.import: its features are those of {source}; import them there."
            )
        self._check_simulation(name, settings)
        if settings.features.import_ is None and self.datasets[name].videos is None:
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
                f"datasets.{name}.simulate.source: no real dataset `{simulate.source}`{nearest(simulate.source, real)}."
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
        if held.fps > MOST_FPS:
            raise ConfigError(
                f"datasets.{name}.overrides.features.import.fps: features are simulated at {MOST_FPS} frames a second "
                f"at most, found {held.fps:g}."
            )
