"""The files of a dataset that training, answering and curves read, and how they are opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from vmr.settings.section import Section
from vmr.storage.files import numbered_files

if TYPE_CHECKING:
    import pandas as pd


class DatasetFiles(Section):
    """Moments, features, queries and manifests of one dataset; commands take them as options."""

    moments: Path = Field(description="Table of moments (moments.csv).")
    features: Path = Field(description="Merged feature file.")
    queries: Path = Field(description="Query file.")
    manifests: Annotated[
        list[Path],
        AfterValidator(numbered_files),
        Field(description="Manifests of the videos, one a shard. shard_{0..31} in a name stands for 32 files."),
    ] = []

    def clamped_moments(self) -> tuple[pd.DataFrame, dict[str, float]]:
        """The table of moments with its clamped spans, and the durations that are known.

        Raises:
            AnnotationError, VideoError: a table cannot be read.
        """
        # Here, since commands ask only for the names of the options.
        from vmr.annotations.moments import clamp_spans, read_moments
        from vmr.video.manifest import known_durations

        table = read_moments(self.moments)
        durations = known_durations(table, self.manifests)
        return clamp_spans(table, durations), durations
