"""How far a run has come, for a person: jobs of each stage, videos of the shards at work, rates and time left.

Snakemake counts jobs, and one of them may hold a thousand videos for hours. What is inside a job shows in the files
that it keeps in order to go on after a kill: the parts of a shard, the history of a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from vmr.errors import ConfigError
from vmr.runlog import Job, Run, read_run_log
from vmr.shard import parts_of


def latest_log(folder: Path) -> Path:
    """Snakemake's log of the latest run in a working directory.

    Raises:
        ConfigError: nothing was run there yet.
    """
    logs = sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"))
    if not logs:
        raise ConfigError(
            f"{folder}/.snakemake/log: no log of a run. Name the folder that Snakemake works in (--directory)."
        )
    return logs[-1]


def progress(folder: Path, *, now: datetime | None = None) -> str:
    """Lines that tell of the latest run in a working directory.

    Args:
        folder: of Snakemake, with ``.snakemake`` in it.
        now: local time; default: the clock's.

    Raises:
        ConfigError: nothing was run there yet.
    """
    run = read_run_log(latest_log(folder).read_text(encoding="utf-8", errors="replace"))
    now = now or datetime.now()
    by_rule: dict[str, list[Job]] = {rule: [] for rule in run.planned}
    for job in run.jobs.values():
        by_rule.setdefault(job.rule, []).append(job)
    lines = [_headline(run)]
    width = max(map(len, by_rule), default=0)
    for rule, jobs in by_rule.items():
        planned = run.planned.get(rule, len(jobs))
        done = [job for job in jobs if job.ended is not None and not job.failed]
        at_work = [] if run.over else [job for job in jobs if job.ended is None]
        failed = sum(job.failed for job in jobs)
        line = f"  {rule:{width}}  {len(done)} of {planned}"
        line += f", {failed} failed" if failed else ""
        line += _left(done, at_work, planned - len(done) - failed, now)
        lines += [line, *(f"  {'':{width}}    {_inside(job, folder, now)}" for job in at_work)]
    return "\n".join(lines)


def _headline(run: Run) -> str:
    done = sum(job.ended is not None and not job.failed for job in run.jobs.values())
    failed = sum(job.failed for job in run.jobs.values())
    at_work = sum(job.ended is None for job in run.jobs.values())
    state = "the run has ended" if run.over else f"{at_work} running or queued"
    return f"{done} of {sum(run.planned.values())} jobs done, {state}" + (f", {failed} failed" if failed else "")


def _left(done: Sequence[Job], at_work: Sequence[Job], remaining: int, now: datetime) -> str:
    """Time left by the jobs of this rule so far; nothing where none has ended or none is at work."""
    took = [(job.ended - job.began).total_seconds() for job in done if job.ended and job.began]
    if not took or not at_work:
        return ""
    each = sum(took) / len(took)
    gone = sum(min(each, (now - job.began).total_seconds()) for job in at_work if job.began)
    return f", about {_duration((remaining * each - gone) / len(at_work))} left at {_duration(each)} a job"


def _inside(job: Job, folder: Path, now: datetime) -> str:
    name = " ".join(
        f"{key} {value}" if key in ("shard", "seed") else value
        for key, value in job.wildcards.items()
        if key != "dataset"
    )
    since = f"for {_duration((now - job.began).total_seconds())}" if job.began else "started"
    return f"{name or job.rule}: " + (_shard(job, folder, now) or _training(job, folder) or since)


def _shard(job: Job, folder: Path, now: datetime) -> str:
    """Videos that a shard's job has finished, from its parts; nothing for other jobs."""
    final = next((folder / name for name in job.outputs if name.endswith(".h5") and "shard" in job.wildcards), None)
    manifest = next(
        (folder / name for name in job.inputs if name.endswith(f"shard_{job.wildcards.get('shard')}.csv")), None
    )
    if final is None or manifest is None or not manifest.exists():
        return ""
    total = len(pd.read_csv(manifest, usecols=[0]))
    times = sorted(parts_of(final))
    text = f"{len(times)} of {total} videos"
    # Those of an earlier, killed run say nothing about the rate of this one.
    fresh = [time for time in times if job.began is None or time >= job.began.timestamp()]
    spent = now.timestamp() - (job.began.timestamp() if job.began else times[0] if times else now.timestamp())
    if fresh and spent > 0:
        rate = len(fresh) / spent
        text += f", {rate * 60:.3g} a minute, about {_duration((total - len(times)) / rate)} left"
    return text


def _training(job: Job, folder: Path) -> str:
    """Epochs of a training, from its history; nothing for other jobs."""
    file = next((folder / name for name in job.outputs if name.endswith("history.csv")), None)
    try:
        history = pd.read_csv(file) if file is not None else pd.DataFrame()
    except (OSError, ValueError):  # none yet
        return ""
    if not {"epoch", "seconds"} <= set(history) or history.empty:
        return ""
    return f"epoch {int(history['epoch'].iloc[-1])}, {_duration(history['seconds'].mean())} each"


def _duration(seconds: float) -> str:
    """In the unit that a person would choose.

    >>> _duration(7.4), _duration(150), _duration(7260)
    ('7 s', '2.5 min', '2.0 h')
    """
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
