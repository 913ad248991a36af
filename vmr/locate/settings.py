"""What `locate` and `serve` are asked to open."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vmr.names import Device
from vmr.settings.section import Section

if TYPE_CHECKING:
    from vmr.locate.videos import VideoAnswers

# Of answers: for people, or what other programs take.
Format = Literal["text", "json", "csv", "srt", "edl"]


class LocatorSettings(Section):
    """The model, and where its videos' features are."""

    model: Path | None = Field(
        default=None,
        description="Model that `vmr export` wrote; empty: the 400 actions of Kinetics.",
        json_schema_extra={"envvar": "VMR_MODEL"},
    )
    features: Path | None = Field(default=None, description="Features at hand, instead of making them.")
    cache: Path | None = Field(
        default=None, description="Folder of features made before.", json_schema_extra={"envvar": "VMR_CACHE"}
    )
    device: Device = Field(default="auto", description="Where the networks run.")

    def open(self) -> "VideoAnswers":
        """The model, or without one the actions of Kinetics, for which nothing was trained.

        Raises:
            CheckpointError, FeatureError: see `Locator`.
            AssetError: no model was named, and the packages with the weights of Kinetics are not installed.
        """
        # Imported here, since loading torch takes seconds.
        if self.model is None:
            from vmr.locate.zero_shot import ActionLocator

            return ActionLocator.load(cache=self.cache, device=self.device, features=self.features)
        from vmr.locate.locator import Locator

        return Locator.load(self.model, cache=self.cache, device=self.device, features=self.features)
