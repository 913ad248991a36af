"""Seconds, memory and use of cards of every stage, from the benchmark files and the logs of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from vmr.errors import EvaluationError
from vmr.machine.use_log import cards_used, cores_used, mean_share, share_told
from vmr.storage.files import atomic_path, numbered_files

_SECONDS, _MEMORY, _CPU = "s", "max_rss", "cpu_time"


@dataclass(frozen=True)
class StageCost:
    """What the measured jobs of a rule took; None where it was not measured, as memory of very short jobs."""

    rule: str
    jobs: int
    seconds: float  # wall-clock of all jobs together
    longest: float  # wall-clock of the longest, in seconds
    cpu_seconds: float | None  # processor time of all jobs, children that were too short for Snakemake included
    memory_mb: float | None  # largest resident memory of a job, in MiB
    gpu_seconds: float | None = None  # how long the jobs held cards, all together
    gpu_memory_mb: float | None = None  # most memory that a job had in use on its card, in MiB
    share_of_machine: float | None = None  # of what the machine can do, 0 to 1; decoding and extraction tell it


def stage_costs(benchmarks: Sequence[Path]) -> list[StageCost]:
    """Costs by rule, in the order of the first job's end.

    Args:
        benchmarks: benchmark files, ``work/NAME/benchmarks/{rule}.tsv`` or ``.../benchmarks/{rule}/{job}.tsv``, with
            ``*`` or ``{0..31}`` for many (those of earlier settings lie beside them, so name what counts); or folders
            ``.../benchmarks``, for all in them. Missing ones hold nothing. Beside ``work`` lie the jobs' logs, in
            ``logs/NAME``, which say how they used cards and the machine; without them nothing is known of these.
    """
    folder_of: dict[Path, Path] = {}
    for path in numbered_files(benchmarks):
        if path.is_dir():
            folder_of |= dict.fromkeys(sorted(path.rglob("*.tsv")), path)
        else:
            folder = next((above for above in path.parents if above.name == "benchmarks"), path.parent)
            folder_of |= dict.fromkeys(sorted(folder.glob(str(path.relative_to(folder)))), folder)
    by_rule: dict[str, list[pd.DataFrame]] = {}
    finished: dict[str, float] = {}
    said: dict[str, list[str]] = {}
    for file, folder in folder_of.items():
        rule = file.relative_to(folder).parts[0].removesuffix(".tsv")
        try:
            table = pd.read_csv(file, sep="\t", na_values=["-", "NA"])
        except (OSError, ValueError):  # a job is writing it
            continue
        if _SECONDS in table and len(table):
            by_rule.setdefault(rule, []).append(table)
            finished[rule] = min(finished.get(rule, float("inf")), file.stat().st_mtime)
            logs = folder.parent.parent.parent / "logs" / folder.parent.name
            text = _text(logs / file.relative_to(folder).with_suffix(".log"))
            said.setdefault(rule, []).append(text)
            if _CPU in table and (used := cores_used(text)):
                table[_CPU] = max(float(table[_CPU].fillna(0).sum()), used)
    in_order = sorted(by_rule, key=lambda rule: finished[rule])
    return [_cost(rule, pd.concat(by_rule[rule]), said.get(rule, [])) for rule in in_order]


def write_costs(benchmarks: Sequence[Path], *, output: Path) -> None:
    """Write what `stage_costs` says of benchmark files as CSV, a row a rule, with the columns of `StageCost`.

    Raises:
        EvaluationError: no job was measured.
    """
    costs = stage_costs(benchmarks)
    if not costs:
        raise EvaluationError(
            f"{', '.join(map(str, benchmarks))}: no benchmark file of a job. Snakemake writes them as jobs end; run "
            "the workflow first."
        )
    with atomic_path(output) as temporary:
        pd.DataFrame([asdict(cost) for cost in costs]).round(2).to_csv(temporary, index=False)


def _text(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cost(rule: str, table: pd.DataFrame, logs: Sequence[str]) -> StageCost:
    def known(column: str) -> pd.Series[float]:
        return (table[column] if column in table else pd.Series(dtype=float)).astype(float).dropna()

    cpu, memory = known(_CPU), known(_MEMORY)
    cards = [use for text in logs for use in cards_used(text)]
    return StageCost(
        rule=rule,
        jobs=len(table),
        seconds=float(known(_SECONDS).sum()),
        longest=float(known(_SECONDS).max()),
        cpu_seconds=float(cpu.sum()) if len(cpu) else None,
        memory_mb=float(memory.max()) if len(memory) else None,
        gpu_seconds=sum(seconds for seconds, _ in cards) if cards else None,
        gpu_memory_mb=max(memory for _, memory in cards) if cards else None,
        share_of_machine=mean_share(map(share_told, logs)),
    )
