"""What `locate` and `serve` are asked to open."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from vmr.names import Device
from vmr.settings.section import Section

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
