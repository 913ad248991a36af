"""Failed jobs of a run of Snakemake, told so that a person can go on: what, why, and the command for just that job."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LAST_LINES = 8
_SHOWN = 5


@dataclass
class FailedJob:
    """A job that failed and was not done again with success.

    Attributes:
        rule: its rule.
        outputs: the files that it should have made.
        logs: log files, the stage's own first.
    """

    rule: str
    outputs: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)


def failed_jobs(text: str) -> list[FailedJob]:
    """The jobs that failed for good.

    Args:
        text: what Snakemake logged, from its own log file.
    """
    failed: dict[str, FailedJob] = {}
    for event in re.finditer(
        r"^Error in rule (?P<rule>\w+):\n(?P<details>(?: {4}.*\n)*)|^Finished jobid: (?P<done>\d+)", text, re.MULTILINE
    ):
        if event["done"]:
            failed.pop(event["done"], None)  # a later attempt
            continue
        entry = dict(re.findall(r"^    (jobid|output|log): (.*)$", event["details"], re.MULTILINE))
        logs = entry.get("log", "").split(" (check log file")[0]
        failed[entry.get("jobid", "")] = FailedJob(event["rule"], _names(entry.get("output", "")), _names(logs))
    return list(failed.values())


def summary(text: str, *, folder: Path, cores: int, configurations: Sequence[str] = ()) -> str:
    """Lines to print after a run with failures; empty when no job failed.

    Args:
        text: what Snakemake logged.
        folder: its working directory.
        cores: of the command that is proposed.
        configurations: files that the run was given with ``--configfile``.
    """
    jobs = failed_jobs(text)
    if not jobs:
        return ""
    lines = [
        f"{len(jobs)} job{'s' * (len(jobs) > 1)} failed. What was finished is kept: mend the cause, then start again."
    ]
    for job in jobs[:_SHOWN]:
        lines += ["", f"{job.rule}: no {job.outputs[0] if job.outputs else 'output'}"]
        for log in job.logs:
            lines += [f"  {log}:", *(f"    {line}" for line in _last_lines(folder / log))]
        if job.outputs:
            given = ["--configfile", *configurations, "--"] if configurations else []
            lines.append(
                f"  this job alone: {shlex.join(['snakemake', '--cores', str(cores), *given, job.outputs[0]])}"
            )
    if len(jobs) > _SHOWN:
        lines += ["", f"and {len(jobs) - _SHOWN} more: {', '.join(sorted({job.rule for job in jobs[_SHOWN:]}))}"]
    return "\n".join(lines)


def _names(listed: str) -> list[str]:
    return [name for name in listed.split(", ") if name]


def _last_lines(log: Path) -> list[str]:
    try:
        lines = log.read_bytes().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ["(not written)"]
    # A progress bar draws over its own line: what it drew last is what counts.
    lines = [line.split("\r")[-1].rstrip() for line in lines]
    return [line for line in lines if line][-_LAST_LINES:] or ["(empty)"]
