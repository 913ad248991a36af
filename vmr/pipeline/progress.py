"""How far a run has come, for a person: jobs of each stage, videos of the shards at work, rates and time left.

Snakemake counts jobs, and one of them may hold a thousand videos for hours. The state of a job shows in the files that
it keeps for the case of a kill: parts of a shard, history of a training.
"""

import fcntl
import platform
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pandas as pd

from vmr.errors import ConfigError
from vmr.machine.use_log import mean_share, share_told
from vmr.pipeline.runlog import Job, Run, duration, read_run_log
from vmr.storage.shard import parts_of


def progress(folder: Path, *, now: datetime | None = None) -> str:
    """Lines that tell of the latest run in a working directory.

    Raises:
        ConfigError: nothing was run there yet.
    """
    log, run, gone = _latest_run(folder)
    now = now or datetime.now()
    by_rule: dict[str, list[Job]] = {rule: [] for rule in run.planned}
    for job in run.jobs.values():
        by_rule.setdefault(job.rule, []).append(job)
    lines = [_headline(run, gone=gone, quiet=now.timestamp() - log.stat().st_mtime)]
    width = max(map(len, by_rule), default=0)
    for rule, jobs in by_rule.items():
        planned = run.planned.get(rule, len(jobs))
        done = [job for job in jobs if job.ended is not None and not job.failed]
        at_work = [] if run.over or gone else [job for job in jobs if job.ended is None]
        failed = sum(job.failed for job in jobs)
        line = f"  {rule:{width}}  {len(done)} of {planned}"
        line += f", {failed} failed" if failed else ""
        line += _left(done, at_work, planned - len(done) - failed, folder, now)
        if (share := mean_share(_share(job, folder) for job in done)) is not None:
            line += f"; {share:.0%} of what the machine can do"
        lines += [line, *(f"  {'':{width}}    {_inside(job, folder, now)}" for job in at_work)]
    return "\n".join(lines)


def _latest_run(folder: Path) -> tuple[Path, Run, bool]:
    """Log of the latest run with jobs, what it tells, and whether the run is known to be gone without a last word.

    Starts that plan or manage (``--unlock``, ``--summary``, ``--touch``, nothing to do) write logs too.
    """
    for log in sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"), reverse=True):
        unwritten = _unwritten(log)  # looked at first: a run that ends after that has its last word in the text
        run = read_run_log(log.read_text(encoding="utf-8", errors="replace"))
        if run.planned and not run.touched:
            return log, run, unwritten and not run.over and run.host == platform.node()
    raise ConfigError(
        f"{folder}/.snakemake/log: no log of a run with jobs. Name the folder that Snakemake works in (--directory)."
    )


def _unwritten(log: Path) -> bool:
    """Whether no process of this machine has a log open to write, as Snakemake has until it ends, however it ends.

    False where it cannot be told: for another user's file, and on file systems that know no leases.
    """
    with log.open("rb") as file, suppress(OSError):
        # Granted only while nobody has the file open to write; it ends as the file is closed.
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        return True
    return False


def _headline(run: Run, *, gone: bool, quiet: float) -> str:
    done = sum(job.ended is not None and not job.failed for job in run.jobs.values())
    failed = sum(job.failed for job in run.jobs.values())
    at_work = sum(job.ended is None for job in run.jobs.values())
    line = f"{done} of {sum(run.planned.values())} jobs done"
    line += ", the run has ended" if run.over or gone else f", {at_work} running or queued"
    line += f", {failed} failed" if failed else ""
    if run.over:
        return line
    # On another machine, and of another user, this is all that can be told of Snakemake.
    return line + ("; it was cut off, its log" if gone else "; log") + f" last written {duration(quiet)} ago"


def _left(done: Sequence[Job], at_work: Sequence[Job], remaining: int, folder: Path, now: datetime) -> str:
    """Time left by the jobs of this rule so far; nothing where none has ended or none is at work."""
    took = [seconds for job in done if (seconds := _took(job, folder)) is not None]
    running = [job for job in at_work if not _queued(job, folder)]
    if not took or not running:
        return ""
    each = sum(took) / len(took)
    gone = sum(min(each, (now - job.began).total_seconds()) for job in running if job.began)
    return f", about {duration((remaining * each - gone) / len(running))} left at {duration(each)} a job"


def _took(job: Job, folder: Path) -> float | None:
    """Seconds that a job was at work; with its time in the queue only where it has no benchmark."""
    with suppress(OSError, ValueError, LookupError):
        return float(pd.read_csv(folder / job.benchmark, sep="\t")["s"].iloc[-1])
    return (job.ended - job.began).total_seconds() if job.ended and job.began else None


def _queued(job: Job, folder: Path) -> bool:
    """Whether a job that was handed to a scheduler has not started: its stage's log begins with it."""
    if job.local or not job.logs or job.began is None:
        return False
    log = folder / job.logs[0]
    return not log.exists() or log.stat().st_mtime < job.began.timestamp()


def _inside(job: Job, folder: Path, now: datetime) -> str:
    named = job.title.removeprefix(f"{job.rule} ").removeprefix(f"{job.wildcards.get('dataset')} ")
    line = f"{job.rule if named == job.wildcards.get('dataset') else named}: {at_work(job, folder, now)}"
    if (told := _share(job, folder)) is not None and not _queued(job, folder):
        line += f"; {told[0]:.0%} of what the machine can do" + (f": {told[2]}" if told[2] else "")
    return line


def _share(job: Job, folder: Path) -> tuple[float, float, str] | None:
    """What the log of a shard's job said last of its use of the machine (`vmr.machine.use_log`)."""
    with suppress(OSError):
        if "shard" in job.wildcards and job.logs:
            return share_told((folder / job.logs[0]).read_text(encoding="utf-8", errors="replace"))
    return None


def at_work(job: Job, folder: Path, now: datetime) -> str:
    """What a job that has not ended is doing: queued, or so many videos, or epochs, or the time since it began."""
    since = f"for {duration((now - job.began).total_seconds())}" if job.began else "started"
    return f"queued {since}" if _queued(job, folder) else _shard(job, folder, now) or _training(job, folder) or since


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
    text = f"{len(times)} of {total} videos" if times else f"started, none of {total} videos yet"
    # Those of an earlier, killed run say nothing about the rate of this one, nor does the time before the first: on a
    # cluster it was spent in the queue.
    fresh = [time for time in times if job.began is None or time >= job.began.timestamp()]
    if len(fresh) > 1 and now.timestamp() > fresh[0]:
        rate = (len(fresh) - 1) / (now.timestamp() - fresh[0])
        text += f", {rate * 60:.3g} a minute, about {duration((total - len(times)) / rate)} left"
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
    return f"epoch {int(history['epoch'].iloc[-1])}, {duration(history['seconds'].mean())} each"
