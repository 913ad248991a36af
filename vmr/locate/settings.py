"""What `locate` and `serve` are asked to open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vmr.names import Device
from vmr.settings.section import Section

# Of answers: for people, or what other programs take.
Format = Literal["text", "json", "csv", "srt", "edl"]


class LocatorSettings(Section):
    """The model, and where its videos' features are."""

    model: Annotated[
        Path | None,
        Field(
            description="Model that `vmr export` wrote; empty: the 400 actions of Kinetics.",
            json_schema_extra={"envvar": "VMR_MODEL"},
        ),
    ] = None
    features: Annotated[Path | None, Field(description="Features at hand, instead of making them.")] = None
    cache: Annotated[
        Path | None, Field(description="Folder of features made before.", json_schema_extra={"envvar": "VMR_CACHE"})
    ] = None
    device: Annotated[Device, Field(description="Where the networks run.")] = "auto"
