"""Failed jobs of a run of Snakemake, told so that a person can go on: what, why, and the command for just that job."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from vmr.runlog import Job, read_run_log

_LAST_LINES = 8
_SHOWN = 5


def failed_jobs(text: str) -> list[Job]:
    """The jobs that failed and were not done again with success.

    Args:
        text: what Snakemake logged, from its own log file.
    """
    return [job for job in read_run_log(text).jobs.values() if job.failed]


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


def _last_lines(log: Path) -> list[str]:
    try:
        lines = log.read_bytes().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ["(not written)"]
    # A progress bar draws over its own line: what it drew last is what counts.
    lines = [line.split("\r")[-1].rstrip() for line in lines]
    return [line for line in lines if line][-_LAST_LINES:] or ["(empty)"]
