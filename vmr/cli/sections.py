"""What the annotations of commands name, loaded once a command of `command_from_sections` is called."""

from vmr.config.datasets import RenderSettings as RenderSettings
from vmr.config.extractors import ExtractorName as ExtractorName
from vmr.config.feature_sections import ExtractorSettings as ExtractorSettings
from vmr.config.feature_sections import ImportSettings as ImportSettings
from vmr.config.feature_sections import Recipe as Recipe
from vmr.config.feature_sections import ReductionSettings as ReductionSettings
from vmr.config.sections import EvaluationSettings as EvaluationSettings
from vmr.config.sections import ModelSettings as ModelSettings
from vmr.config.sections import QuerySettings as QuerySettings
from vmr.config.sections import ReportSettings as ReportSettings
from vmr.config.sections import TrainingSettings as TrainingSettings
from vmr.config.sections import VideoSettings as VideoSettings
from vmr.data.dataset import DatasetFiles as DatasetFiles
from vmr.locate.settings import Format as Format
from vmr.locate.settings import LocatorSettings as LocatorSettings
from vmr.serve.limits import Limits as Limits
from vmr.serve.limits import Listening as Listening
from vmr.settings.options import Fields as Fields
