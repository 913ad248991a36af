"""The errors that a user can meet. Each message names the file or id, what was expected and found, and what to do."""

import unicodedata

# What to do about files of ours that are not as they were written.
REPAIR = "`vmr verify DATASET --delete` removes what is damaged; Snakemake then makes it again."


def without_controls(text: str) -> str:
    r"""Text for a terminal or log: names of others may hold escapes that colour, move and overwrite what stands there.

    >>> without_controls("a\x1b[2Jb\u202e.mp4\n")
    'a\\x1b[2Jb\\u202e.mp4\n'
    """
    if text.isprintable():
        return text
    hidden = ("Cc", "Cf", "Cs")
    return "".join(
        repr(letter)[1:-1] if letter not in "\n\t\u200c\u200d" and unicodedata.category(letter) in hidden else letter
        for letter in text
    )


class VmrError(Exception):
    """Base of every error that the command line prints as one clear line instead of a traceback."""


class ConfigError(VmrError):
    """`config.yaml` or an option has a wrong value."""


class AssetError(VmrError):
    """A declared asset (weights, word vectors, annotations) is missing, altered or unsafe."""


class AnnotationError(VmrError):
    """An annotation file is unreadable or not in the format that the configuration names."""


class DatasetError(VmrError):
    """The checks of a dataset found something that would make its scores worthless."""


class VideoError(VmrError):
    """A video cannot be probed or decoded; becomes a row of the manifest, not a failed job."""


class ShardError(VmrError):
    """A shard cannot be written or too many of its videos failed."""


class DamageError(VmrError):
    """A file that this program wrote was cut or altered since; no result may come from it."""


class FeatureError(VmrError):
    """A feature file or extractor does not fit what is asked of it."""


class QueryError(VmrError):
    """A query file or the word vectors do not fit."""


class CheckpointError(VmrError):
    """A checkpoint is damaged or belongs to other features, queries or another method."""


class TrainingError(VmrError):
    """Training cannot start or go on (no covered videos, loss is not a number)."""


class EvaluationError(VmrError):
    """Predictions or ground truth cannot be scored."""
