"""The query store: one HDF5 file with the tokens of every query and the vectors of the words they use."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from vmr.errors import REPAIR, DamageError, QueryError
from vmr.storage.checksums import altered, seal_file
from vmr.storage.files import atomic_path, writing
from vmr.storage.hdf5 import new_hdf5

UNKNOWN = 0
UNKNOWN_WORD = "<unk>"


def write_query_store(
    path: Path,
    *,
    token_ids: Mapping[str, Sequence[int]],
    words: Sequence[str],
    vectors: Float[np.ndarray, "W E"],
    provenance: Mapping[str, Any],
) -> None:
    """Write a query store atomically.

    Args:
        token_ids: for every query id, the indices of its words in `words`, at least one; 0 is the unknown word.
        words: the vocabulary; ``words[0]`` is ``"<unk>"``. Where a vector depends on its sentence, a word stands there
            once for each.
        vectors: one row for each of `words`; row 0 is zeros, since the unknown word's vector is trained with the model.

    Raises:
        QueryError: a query has no words.
        ShardError: the disk is full or the folder cannot be written.
        ValueError: the tables do not fit each other.
    """
    if not words or words[UNKNOWN] != UNKNOWN_WORD or len(words) != len(vectors) or vectors[UNKNOWN].any():
        raise ValueError(f"expected a vector a word, the first being {UNKNOWN_WORD} with zeros")
    empty = [query_id for query_id, ids in token_ids.items() if not len(ids)]
    if empty:
        raise QueryError(f"query {empty[0]} has no words ({len(empty)} such queries). Remove it from the annotations.")
    lengths = np.array([len(ids) for ids in token_ids.values()], dtype=np.int64)
    flat = np.array([index for ids in token_ids.values() for index in ids], dtype=np.int32)
    text = h5py.string_dtype("utf-8")
    with writing(path), atomic_path(path) as temporary, new_hdf5(temporary) as file:
        file.create_dataset("query_id", data=list(token_ids), dtype=text, shape=(len(token_ids),))
        file.create_dataset("offsets", data=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        file.create_dataset("token_index", data=flat)
        file.create_dataset("words", data=list(words), dtype=text)
        file.create_dataset("vectors", data=vectors.astype(np.float32))
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True, ensure_ascii=False)
        seal_file(file)


class QueryStore:
    """The content of a query store, in memory, as `write_query_store` took it.

    Raises:
        QueryError: the file is missing, damaged, or something else.
        DamageError: it holds something else than was written.

    Attributes:
        query_ids: ids in the order of the file.
        provenance: what made the file, among it name and sha256 of the file of vectors.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            with h5py.File(path, "r", locking=False) as file:
                self.query_ids: list[str] = list(file["query_id"].asstr()[:])
                self.words: list[str] = list(file["words"].asstr()[:])
                self.vectors: NDArray[np.float32] = file["vectors"][:]
                self.provenance: dict[str, Any] = json.loads(file.attrs["provenance"])
                self._offsets: NDArray[np.int64] = file["offsets"][:]
                self._tokens: NDArray[np.int32] = file["token_index"][:]
                if wrong := altered(file):
                    raise DamageError(f"{path}: {', '.join(wrong)} not as they were written. {REPAIR}")
        except FileNotFoundError as error:
            raise QueryError(f"{path}: there is no such query store. Run embed_queries first.") from error
        except (OSError, KeyError, ValueError) as error:
            raise QueryError(f"{path}: not a query store ({error}). Run embed_queries again.") from error
        self.path = Path(path)
        self._row = {query_id: row for row, query_id in enumerate(self.query_ids)}

    @functools.cached_property
    def vocabulary(self) -> dict[str, int]:
        """Number of every different word."""
        return {word: number for number, word in enumerate(dict.fromkeys(self.words))}

    @property
    def word_numbers(self) -> Int[np.ndarray, "W"]:
        """The numbers in `vocabulary` of all `words`."""
        return np.array([self.vocabulary[word] for word in self.words], dtype=np.int64)

    @property
    def dim(self) -> int:
        """Length of a word vector."""
        return int(self.vectors.shape[1])

    def __contains__(self, query_id: str) -> bool:
        return query_id in self._row

    def token_ids(self, query_id: str) -> Int[np.ndarray, "L"]:
        """Indices of a query's words in `words`.

        Raises:
            QueryError: the store does not have the query.
        """
        if query_id not in self._row:
            raise QueryError(f"{self.path}: no query {query_id}. Run embed_queries again with this table of moments.")
        row = self._row[query_id]
        return self._tokens[self._offsets[row] : self._offsets[row + 1]]
