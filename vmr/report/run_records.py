"""Settings and provenance of the runs, out of their own records, as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vmr.errors import EvaluationError
from vmr.methods.catalogue import title_of
from vmr.storage.records import read_table

_OWN = ("method", "seed")


def read_history(folder: Path) -> pd.DataFrame:
    """Loss and validation of every epoch of a run; an untrained run has none.

    Raises:
        EvaluationError: the file is missing or not such a table.
    """
    how: dict[str, Any] = {"what": "history", "columns": ["epoch"], "again": "Train again.", "error": EvaluationError}
    return read_table(folder / "history.csv", **how).replace("", "nan")


def settings_rows(records: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Settings by name, from `run.json` of one run of each method; where methods differ, every method's own."""
    names = dict.fromkeys(name for record in records.values() for name in record.get("settings", {}))
    rows = []
    for name in names:
        if name in _OWN:
            continue
        values = {
            method: plain(record["settings"][name])
            for method, record in records.items()
            if name in record.get("settings", {})
        }
        if len(set(values.values())) == 1 and len(values) == len(records):
            rows.append((name, next(iter(values.values()))))
        else:
            rows.append((name, "; ".join(f"{title_of(method)}: {value}" for method, value in values.items())))
    return rows


def run_rows(runs: Sequence[tuple[str, int, Mapping[str, Any]]]) -> list[list[str]]:
    """A line a run: method, seed, trained weights, seconds, epochs, device and why its epoch was chosen."""
    return [
        [
            title_of(method),
            str(seed),
            f"{record.get('parameters', 0):,}",
            f"{record.get('seconds', 0.0):,.0f}",
            str(record.get("epochs_run", "–")),
            str(record.get("chosen_epoch", "–")),
            ", ".join(plain(record.get(name)) for name in ("device", "precision")),
            str(record.get("reason") or "–") if record.get("trained", True) else "not trained",
        ]
        for method, seed, record in runs
    ]


def flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Entries of nested mappings by their dotted names.

    >>> flat({"a": 1, "b": {"c": None}})
    [('a', '1'), ('b.c', '–')]
    """
    rows: list[tuple[str, str]] = []
    for name, own in value.items():
        if isinstance(own, Mapping):
            rows += flat(own, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", plain(own)))
    return rows


def plain(value: Any) -> str:
    """A value as a reader would write it.

    >>> plain([["a", 1], {"b": None, "c": [2.50]}]), plain("['x']")
    ('(a, 1), (b –, c 2.5)', "['x']")
    """
    if value is None or value in ([], {}, ()):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_inner(own)}" for name, own in value.items())
    return ", ".join(map(_inner, value)) if isinstance(value, list | tuple) else str(value)


def _inner(value: Any) -> str:
    """The same inside another value: what has parts stands in brackets."""
    return f"({plain(value)})" if isinstance(value, Mapping | list | tuple) and len(value) > 1 else plain(value)
