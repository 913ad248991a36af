"""Seconds and memory of every stage, from the benchmark files of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

_SECONDS, _MEMORY, _CPU = "s", "max_rss", "cpu_time"


@dataclass(frozen=True)
class StageCost:
    """What the jobs of a rule took.

    Attributes:
        rule: its name.
        jobs: those that were measured.
        seconds: wall-clock of all jobs together.
        longest: wall-clock of the longest, in seconds.
        cpu_seconds: processor time of all jobs; None where it was not measured.
        memory_mb: largest resident memory of a job, in MiB; None where the jobs were too short to be measured.
    """

    rule: str
    jobs: int
    seconds: float
    longest: float
    cpu_seconds: float | None
    memory_mb: float | None


def stage_costs(folders: Sequence[Path]) -> list[StageCost]:
    """Costs by rule, in the order of the first job's end.

    Args:
        folders: folders of benchmark files, ``{rule}.tsv`` or ``{rule}/{job}.tsv``; missing ones hold nothing.
    """
    files = [file for folder in folders for file in sorted(folder.rglob("*.tsv"))]
    by_rule: dict[str, list[pd.DataFrame]] = {}
    finished: dict[str, float] = {}
    for file in files:
        folder = next(own for own in folders if file.is_relative_to(own))
        rule = file.relative_to(folder).parts[0].removesuffix(".tsv")
        try:
            table = pd.read_csv(file, sep="\t", na_values=["-", "NA"])
        except (OSError, ValueError):  # a job is writing it
            continue
        if _SECONDS in table and len(table):
            by_rule.setdefault(rule, []).append(table)
            finished[rule] = min(finished.get(rule, float("inf")), file.stat().st_mtime)
    return [_cost(rule, pd.concat(by_rule[rule])) for rule in sorted(by_rule, key=lambda rule: finished[rule])]


def _cost(rule: str, table: pd.DataFrame) -> StageCost:
    def known(column: str) -> pd.Series[float]:
        return (table[column] if column in table else pd.Series(dtype=float)).astype(float).dropna()

    cpu, memory = known(_CPU), known(_MEMORY)
    return StageCost(
        rule=rule,
        jobs=len(table),
        seconds=float(known(_SECONDS).sum()),
        longest=float(known(_SECONDS).max()),
        cpu_seconds=float(cpu.sum()) if len(cpu) else None,
        memory_mb=float(memory.max()) if len(memory) else None,
    )
