"""What a run will do, told before it begins: jobs and why they run, hours, disk, and videos that are missing."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import vmr
from vmr.annotations.few import LEAST_SENTENCES
from vmr.errors import ConfigError
from vmr.pipeline.corpus import Corpus, corpus_of
from vmr.pipeline.estimate import Estimate, disk_gb, earlier_costs, multiplies_bfloat16
from vmr.pipeline.plan import Plan
from vmr.pipeline.runlog import Job, duration, read_run_log, why

SNAKEFILE = Path(vmr.__file__).parents[1] / "Snakefile"
_LONG_HOURS = 2.0  # beyond it a smaller try is named
_TRY = 80  # with fewer videos of Charades, sentences are too few to learn from
# Rules whose jobs need the videos themselves, or features of them.
_OF_VIDEOS = frozenset({"probe_videos", "decode_frames", "extract", "train", "evaluate", "make_table"})
_FETCHING = "fetch_videos_"


def forecast(plan: Plan, jobs: Sequence[Job], *, cores: int | None, cards: int) -> str:
    """Lines that tell what planned jobs will do and take.

    Args:
        jobs: each with its rule, wildcards and reason, in the order of the plan.
        cores: cores that may be used at a time; None where a scheduler has them, and time is that of one core.
    """
    if not jobs:
        return "Nothing to be done: all of it is there."
    names = [name for name in plan.datasets if any(job.wildcards.get("dataset") == name for job in jobs)]
    costs = earlier_costs(plan)
    fetching = [job.rule.removeprefix(_FETCHING) for job in jobs if job.rule.startswith(_FETCHING)]
    wanted = dict.fromkeys([*names, *map(plan.source, names), *fetching, *costs])
    found = {name: corpus_of(plan, name) for name in wanted}
    corpora = {name: corpus for name, corpus in found.items() if corpus is not None}
    estimate = Estimate(plan, corpora, cards=cards, costs=costs, bfloat16=cores is None or multiplies_bfloat16())
    lines = [f"{len(jobs):,} job{'s' * (len(jobs) > 1)}"]
    hours = {rule: own.hours(cores=cores or 1, cards=cards) for rule, own in estimate.stages(jobs).items()}
    lines += _stages(jobs, hours, cores=cores, cards=cards)
    lines += _basis(jobs, estimate, corpora, unknown=[name for name in names if name not in corpora])
    lines += _disk(disk_gb(plan, corpora, jobs))
    is_long = sum(hours.values()) > _LONG_HOURS
    shown = {job.wildcards.get("dataset") for job in jobs if job.rule in _OF_VIDEOS}
    for name in names:
        if name in shown and (corpus := corpora.get(name)) is not None:
            lines += _of_dataset(plan, name, corpus, jobs)
            if is_long and corpus.videos > _TRY and name not in plan.imports and name == plan.source(name):
                lines.append(f"a small try first: vmr plan {name} --try {_TRY}")
    return "\n".join(lines)


def _stages(jobs: Sequence[Job], hours: Mapping[str, float], *, cores: int | None, cards: int) -> list[str]:
    by_rule: dict[str, list[Job]] = {}
    for job in jobs:
        by_rule.setdefault(job.rule, []).append(job)
    rows = []
    for rule, own in by_rule.items():
        reasons = Counter(why(job.reason) for job in own)
        said = ", ".join(reason if len(reasons) == 1 else f"{count} {reason}" for reason, count in reasons.items())
        taken = "by the network" if rule.startswith(_FETCHING) else duration(max(1.0, 3600 * hours[rule]))
        rows.append((rule, f"{len(own):,}", said, taken))
    machine = f"{cores} core{'s' * (cores != 1)}" if cores else "a single core"
    machine += f" and {cards} card{'s' * (cards > 1)}" if cards else ", no card"
    rows.append(("together", f"{len(jobs):,}", f"on {machine}", duration(3600 * sum(hours.values()))))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"  {rule:<{widths[0]}}  {count:>{widths[1]}}  {said:<{widths[2]}}  {time:>{widths[3]}}"
        for rule, count, said, time in rows
    ]


def _basis(jobs: Sequence[Job], estimate: Estimate, corpora: dict[str, Corpus], *, unknown: Sequence[str]) -> list[str]:
    """Where the hours come from, and what they leave out."""
    earlier = estimate.from_earlier({job.rule for job in jobs})
    said = f"earlier jobs of {', '.join(earlier)}, else " if earlier else ""
    lines = [f"hours by {said}figures of another machine (docs/clusters.md): expect half to twice as many"]
    planned = {job.wildcards.get("dataset") for job in jobs}
    if not estimate.bfloat16 and any(job.rule in ("extract", "train") for job in jobs):
        lines.append("this processor does not multiply bfloat16: networks are reckoned in float32")
    lines += [f"{name}: {corpus.assumed}" for name, corpus in corpora.items() if corpus.assumed and name in planned]
    if guessed := estimate.unmeasured(jobs):
        lines.append(f"{', '.join(guessed)} was not measured: by its arithmetic beside I3D's")
    if unknown:
        lines.append(f"{', '.join(unknown)}: the annotations are not there yet, so that its hours are not in the sum")
    return lines


def _disk(sizes: dict[str, tuple[float, float]]) -> list[str]:
    if not sizes:
        return []
    free = shutil.disk_usage(Path()).free / 1e9
    parts = [f"{what} {_range(*size)}" for what, size in sizes.items()]
    short = sum(low for low, _ in sizes.values()) > free
    return [f"disk: {', '.join(parts)}; {free:,.0f} GB are free" + (": too few" if short else "")]


def _of_dataset(plan: Plan, name: str, corpus: Corpus, jobs: Sequence[Job]) -> list[str]:
    """What is missing of a dataset, and whether a result can come of the rest."""
    dataset = plan.datasets[name]
    if dataset.render or dataset.simulate:
        return []
    fetched = any(job.rule == f"{_FETCHING}{listed}" for job in jobs for listed in plan.datasets)
    lines = []
    if corpus.there is not None and corpus.there < corpus.videos:
        lines.append(f"{name}: {corpus.there:,} of {corpus.videos:,} videos are in {dataset.videos}")
        lines[0] += "; they are fetched first" if fetched else "; queries to the others count as wrong"
    number = corpus.trained if fetched or corpus.trained_there is None else corpus.trained_there
    if (corpus.there == 0 and not fetched) or number == 0:
        lines.append(
            f"{name}: NO RESULT can come of this: no training video is there. Put the videos into {dataset.videos}, "
            "named by their ids (docs/data.md)."
        )
    elif corpus.wrong:
        lines.append(f"{name}: NO RESULT can come of this: {corpus.wrong}.")
    elif number < LEAST_SENTENCES and any(job.rule == "train" for job in jobs):
        lines.append(f"{name}: NO RESULT can come of this: {number} sentences to train on are too few to learn from.")
    return lines


def _range(low: float, high: float) -> str:
    """Gigabytes, in as many digits as they are known.

    >>> _range(8.6, 42.9), _range(2.51, 2.51), _range(0.02, 0.04)
    ('9 to 43 GB', '2.5 GB', 'less than 0.1 GB')
    """

    def plain(value: float) -> str:
        return f"{value:.2g}" if value < 10 and high < 10 else f"{value:,.0f}"

    if high < 0.1:
        return "less than 0.1 GB"
    return f"{plain(low)} GB" if plain(low) == plain(high) else f"{plain(low)} to {plain(high)} GB"


def planned_jobs(targets: Sequence[str], *, folder: Path, configfiles: Sequence[Path], cores: int) -> list[Job]:
    """What a dry run of Snakemake plans for some targets.

    Raises:
        ConfigError: it fails; the message is Snakemake's.
    """
    if not SNAKEFILE.exists():
        raise ConfigError(f"{SNAKEFILE}: not there. The workflow is planned in a checkout of the project.")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--dry-run", "--nocolor"]
    command += ["--cores", str(cores), "--directory", str(folder), "--configfile", *map(str, configfiles)]
    command += ["--", *targets]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"VMR_SNAKEMAKE_WORDS": "1"})
    if run.returncode:
        words = re.sub(r"^Using workflow specific profile.*\n", "", run.stderr or run.stdout, flags=re.MULTILINE)
        raise ConfigError(f"Snakemake cannot plan {' '.join(targets)}:\n{words.strip()}")
    return list(read_run_log(run.stdout + run.stderr).jobs.values())
