"""Reading the vectors of wanted words from a GloVe text file."""

import gzip
import itertools
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from vmr.errors import QueryError

_LINES_THAT_TELL_THE_DIMENSION = 64


def is_encoder(path: Path) -> bool:
    """Whether a file is an encoder of whole sentences (`vmr.queries.sentence_encoder`), not a table of words."""
    return path.suffix == ".safetensors"


def read_vectors(path: Path, words: Collection[str]) -> dict[str, Float[np.ndarray, "E"]]:
    """float32 vectors of those of `words` that a file has; only they are kept in memory. Of a word twice the first
    counts.

    A line is ``word number number ...``, separated by single blanks. GloVe 840B also has words with blanks inside, and
    files in word2vec's text format begin with a line of two counts: both are read right.

    Raises:
        QueryError: the file is missing, damaged, or not of this format.
    """
    wanted = {word.encode("utf-8"): word for word in words}
    found: dict[str, NDArray[np.float32]] = {}
    with open_vectors(path) as file:
        dimension, lines = _dimension(path, file)
        for number, line in lines:
            prefix = line.partition(b" ")[0]
            if prefix not in wanted or wanted[prefix] in found:
                continue
            fields = line.rstrip().rsplit(b" ", dimension)
            if len(fields) == dimension + 1 and fields[0] != prefix:
                continue  # A longer word with blanks, which begins like a wanted one.
            found[wanted[prefix]] = _vector(fields, dimension, f"{path}:{number}")
            if len(found) == len(wanted):
                break
    return found


def vector_dimension(path: Path) -> int:
    """Length of the vectors of a file.

    Raises:
        QueryError: the file is missing, damaged, or not of this format.
    """
    with open_vectors(path) as file:
        return _dimension(path, file)[0]


@contextmanager
def open_vectors(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Bytes of a file of word vectors, unpacked where its name ends in .gz.

    Raises:
        QueryError: it is missing, unreadable or damaged.
    """
    try:
        with path.open("rb") as plain:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=plain) as unpacked:
                    yield unpacked
            else:
                yield plain
    except FileNotFoundError as error:
        raise QueryError(
            f"{path}: there is no such file of word vectors. Set queries.vectors in config.yaml."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise QueryError(f"{path}: the word vectors cannot be read ({error}). Fetch the file again.") from error


def _dimension(path: Path, file: BinaryIO | gzip.GzipFile) -> tuple[int, Iterable[tuple[int, bytes]]]:
    lines = enumerate(file, start=1)
    head = list(itertools.islice(lines, _LINES_THAT_TELL_THE_DIMENSION))
    if head and len(head[0][1].split()) == 2:
        head = head[1:]
    # Words with blanks make lines longer, but they are rare.
    lengths = Counter(len(line.rstrip().split(b" ")) for _, line in head)
    dimension = max(lengths, key=lambda length: (lengths[length], -length), default=0) - 1
    if dimension < 2:
        raise QueryError(f"{path}: expected lines of a word and its numbers (GloVe text), found none.")
    return dimension, itertools.chain(head, lines)


def _vector(fields: list[bytes], dimension: int, place: str) -> Float[np.ndarray, "E"]:
    try:
        vector = np.array([float(field) for field in fields[1:]], dtype=np.float32)
    except ValueError:
        vector = np.empty(0, dtype=np.float32)
    if len(vector) != dimension or not np.isfinite(vector).all():
        raise QueryError(f"{place}: expected a word and {dimension} finite numbers. Fetch the file again.")
    return vector
