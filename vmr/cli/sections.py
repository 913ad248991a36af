"""What the annotations of commands name, loaded once a command of `command_from_sections` is called."""

from vmr.config import RenderSettings
from vmr.config.extractors import ExtractorName
from vmr.config.feature_sections import ExtractorSettings, ImportSettings, Recipe, ReductionSettings
from vmr.config.sections import (
    EvaluationSettings,
    ModelSettings,
    QuerySettings,
    ReportSettings,
    TrainingSettings,
    VideoSettings,
)
from vmr.data.dataset import DatasetFiles
from vmr.locate.settings import Format, LocatorSettings
from vmr.serve.limits import Limits, Listening
from vmr.settings.options import Fields

__all__ = [
    "DatasetFiles",
    "EvaluationSettings",
    "ExtractorName",
    "ExtractorSettings",
    "Fields",
    "Format",
    "ImportSettings",
    "Limits",
    "Listening",
    "LocatorSettings",
    "ModelSettings",
    "QuerySettings",
    "Recipe",
    "ReductionSettings",
    "RenderSettings",
    "ReportSettings",
    "TrainingSettings",
    "VideoSettings",
]
