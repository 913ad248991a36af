"""Failed jobs of a run of Snakemake, told so that a person can go on: what, why, and the command for just that job."""

import os
import re
import shlex
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from vmr.pipeline.runlog import Job, read_run_log

_LAST_LINES = 8
_SHOWN = 5
# Options that say what to run or to force, not how and where.
_WHAT = ("--force", "--forceall", "--forcerun", "--until", "--omit-from", "--prioritize", "--batch", "--allowed-rules")
_WHAT_SHORT = ("R", "U", "O", "P")


def failed_jobs(text: str) -> list[Job]:
    """The jobs that failed and were not done again with success."""
    return [job for job in read_run_log(text).jobs.values() if job.failed]


def options_of(arguments: Sequence[str], targets: Collection[str]) -> list[str]:
    """The options of a command of Snakemake that hold for one of its jobs too: profile, configuration, folder, cores.

    Args:
        targets: those of its words that are targets; they are left out, as is all else that says what to run or to
            force.

    >>> options_of(["--cores", "8", "-R", "train", "--workflow-profile", "slurm", "--", "table.csv"], {"table.csv"})
    ['--cores', '8', '--workflow-profile', 'slurm']
    """
    plain = {os.path.normpath(target) for target in targets}
    kept: list[str] = []
    dropping = False
    for word in arguments:
        if word == "--":  # only targets follow
            break
        if word.startswith("--"):
            # Snakemake takes a beginning of an option for all of it.
            dropping = any(option.startswith(word.split("=")[0]) for option in _WHAT)
            if not dropping:
                kept.append(word)
        elif short := re.fullmatch(r"-([afFknpt]*)(.*)", word):
            # Options of one letter stand together: -kF, -kRtrain, -j8.
            dropping = short[2].startswith(_WHAT_SHORT)
            letters = re.sub("[fF]", "", short[1]) + ("" if dropping else short[2])
            kept += [f"-{letters}"] if letters else []
        elif not dropping and os.path.normpath(word) not in plain:
            kept.append(word)
    return kept


def summary(text: str, *, folder: Path, options: Sequence[str]) -> str:
    """Lines to print after a run with failures; empty when no job failed."""
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
            lines.append(f"  this job alone: {shlex.join(['snakemake', *options, '--', job.outputs[0]])}")
    if len(jobs) > _SHOWN:
        lines += ["", f"and {len(jobs) - _SHOWN} more: {', '.join(sorted({job.rule for job in jobs[_SHOWN:]}))}"]
    return "\n".join(lines)


def outcomes(targets: Collection[str], folder: Path) -> list[str]:
    """What came of a run that ended well: where its results are, and that they are none where they say so."""
    lines = []
    for target in sorted(targets):
        if not re.fullmatch(r"(.*/)?results/[^/]+_(table\.\w+|report\.html)", target):
            continue
        said = f"{target} is there"
        text = Path(re.sub(r"_(table\.\w+|report\.html)$", "_table.md", str(folder / target)))
        with suppress(OSError):
            note = re.search(r"^\*\*((?:No|Not all are) results?)\*\*: (.*)$", text.read_text("utf-8"), re.MULTILINE)
            said += f"; {note[1].upper()}: {note[2]}" if note else ""
        lines.append(said)
    return lines


def _last_lines(log: Path) -> list[str]:
    try:
        lines = log.read_bytes().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ["(not written)"]
    # A progress bar draws over its own line: what it drew last is what counts.
    lines = [line.split("\r")[-1].rstrip() for line in lines]
    return [line for line in lines if line][-_LAST_LINES:] or ["(empty)"]
