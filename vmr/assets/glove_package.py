"""GloVe vectors of the embedded package, written in the text format of the published files."""

from pathlib import Path
from typing import Any

import arro3.io
import numpy as np
from tqdm import tqdm

from vmr.errors import AssetError
from vmr.storage.files import atomic_path, sha256_file, writing

_ROWS_AT_ONCE = 10_000


def write_glove_text(vectors: Path, words: Path, *, output: Path, sha256: str | None = None) -> None:
    """Write ``word v1 v2 ...`` lines, one a word, in the order of the package (most frequent first).

    Args:
        vectors: NumPy file, float32, (words, dimensions).
        words: Parquet file with one column, the words.
        output: the text file, with six significant digits; they read back as the same float32.
        sha256: of the text file; None where unknown.

    Raises:
        AssetError: a file cannot be read, the two do not fit each other, or the text is not the expected one.
        ShardError: the disk is full or the folder cannot be written.
    """
    listed = read_words(words)
    try:
        table = np.load(vectors, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise AssetError(f"{vectors}: cannot be read as a NumPy array ({error}).") from error
    if table.ndim != 2 or len(table) != len(listed) or table.dtype != np.float32:
        raise AssetError(
            f"{vectors}: expected float32 of shape ({len(listed)}, dimensions) for the words of {words.name}, found "
            f"{table.dtype} of shape {table.shape}."
        )
    line = " ".join(["%s"] + ["%.6g"] * table.shape[1]) + "\n"
    with writing(output), atomic_path(output) as temporary:
        with (
            temporary.open("w", encoding="utf-8", newline="\n") as file,
            tqdm(desc="glove", total=len(listed), unit="word", disable=None) as progress,
        ):
            for start in range(0, len(listed), _ROWS_AT_ONCE):
                rows = table[start : start + _ROWS_AT_ONCE].tolist()
                pairs = zip(listed[start : start + _ROWS_AT_ONCE], rows, strict=True)
                file.writelines(line % (word, *row) for word, row in pairs)
                progress.update(len(rows))
        found = sha256_file(temporary)
        if sha256 not in (None, found):
            raise AssetError(f"{output}: the vectors as text have SHA-256 {found}, expected {sha256}. Not written.")


def read_words(path: Path) -> list[str]:
    """The words of the package: the only column of a Parquet file, in the order of its rows.

    Args:
        path: a file whose hash was checked; a damaged one ends the process.

    Raises:
        AssetError: the file has another layout.
    """
    table = arro3.io.read_parquet(path).read_all()
    words: list[Any] = list(table.column(0).to_pylist()) if table.num_columns == 1 else []
    if not words or not all(isinstance(word, str) for word in words):
        raise AssetError(f"{path}: expected one column of words, found the columns {', '.join(table.column_names)}.")
    return words
