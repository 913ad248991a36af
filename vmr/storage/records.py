"""Tables (CSV) and records (JSON) of ours, read with one kind of error for what is missing or something else."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vmr.errors import VmrError
from vmr.storage.files import atomic_path, writing
from vmr.storage.json_text import load_json


def read_table(
    path: Path | str, *, what: str, columns: Sequence[str], again: str, error: type[VmrError]
) -> pd.DataFrame:
    """Read a CSV with known columns, each cell as text: the id "007" stays what it is, and so does the word "null".

    Args:
        columns: columns that it must have; others are kept too.

    Raises:
        VmrError: of the kind `error`: the file is missing, cannot be read, or lacks a column.
    """
    try:
        table = pd.read_csv(path, dtype=object, keep_default_na=False, na_filter=False, encoding="utf-8")
    except (OSError, ValueError) as problem:  # pandas' own errors, and those of decoding, are ValueErrors
        raise _unreadable(path, problem, what=what, again=again, error=error) from problem
    if missing := [column for column in columns if column not in table.columns]:
        found = ", ".join(map(str, table.columns[:12]))
        raise error(
            f"{path}: expected a {what} with the columns {', '.join(columns)}; {', '.join(missing)} not found among "
            f"{found}. {again}"
        )
    return table


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table atomically as CSV.

    Raises:
        ShardError: the disk is full or the folder cannot be written.
    """
    with writing(path), atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")


def write_rows(path: Path | str, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a CSV atomically, a row a line, each cell as `str` has it."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_record(
    path: Path | str, *, what: str, needed: Sequence[str] = (), again: str, error: type[VmrError]
) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        needed: keys that it must have.

    Raises:
        VmrError: of the kind `error`: the file is missing, is not a JSON object, or lacks a key.
    """
    try:
        record = load_json(Path(path).read_bytes())
    except (OSError, ValueError) as problem:
        raise _unreadable(path, problem, what=what, again=again, error=error) from problem
    if not isinstance(record, dict):
        raise error(f"{path}: expected a {what}, a JSON object; found {type(record).__name__}. {again}")
    if missing := [name for name in needed if name not in record]:
        raise error(f"{path}: expected a {what} with {', '.join(needed)}; {', '.join(missing)} not found. {again}")
    return record


def _unreadable(path: Path | str, problem: Exception, *, what: str, again: str, error: type[VmrError]) -> VmrError:
    if isinstance(problem, FileNotFoundError):
        return error(f"{path}: there is no such {what}. {again}")
    if isinstance(problem, OSError):
        return error(f"{path}: a {what} was expected, it cannot be read ({problem.strerror or problem}). {again}")
    return error(f"{path}: this is not a {what} ({' '.join(str(problem).split())}). {again}")
