"""What Snakemake's own log of a run says: the jobs that it planned, and what became of each that it started."""

import re
from dataclasses import dataclass, field
from datetime import datetime

_TIME = r"(?:^\[(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4})\]\n)?"
_EVENT = re.compile(
    _TIME + r"(?:^(?P<local>local)?(?:rule|checkpoint) (?P<started>\w+):\n(?P<details>(?: {4}.*\n)*)"
    r"|^Error in rule (?P<failed>\w+):\n(?P<why>(?: {4}.*\n)*)"
    r"|^Finished jobid: (?P<done>\d+))",
    re.MULTILINE,
)
_ENDED = re.compile(r"^(?:Complete log\(s\)|Exiting because a job execution failed|Nothing to be done)", re.MULTILINE)


@dataclass
class Job:
    """A job that was started, or handed to a scheduler."""

    rule: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)  # log files, the stage's own first
    benchmark: str = ""  # file of what it took; empty where its rule has none
    wildcards: dict[str, str] = field(default_factory=dict)
    began: datetime | None = None  # when it was started last
    ended: datetime | None = None  # when it ended; None while it runs
    failed: bool = False  # whether its last attempt failed
    reason: str = ""  # why it runs, in Snakemake's words
    local: bool = False  # whether Snakemake runs it itself, so that no scheduler lets it wait

    @property
    def title(self) -> str:
        """What a person would call it: "train charades i3d ci_mha seed 0"."""
        named = (f"{key} {value}" if key in ("shard", "seed") else value for key, value in self.wildcards.items())
        return " ".join([self.rule, *named])


@dataclass(frozen=True)
class Run:
    """A run of Snakemake."""

    planned: dict[str, int]  # number of jobs of each rule, in the order of the plan
    jobs: dict[str, Job]  # those that were started, by Snakemake's number
    over: bool  # whether the run has ended; a killed one does not say so
    host: str  # where Snakemake ran; empty where it did not say so
    touched: bool  # whether it took everything as made (``--touch``) and ran nothing


def read_run_log(text: str) -> Run:
    """The run that a log tells of; an empty one for any other text."""
    jobs: dict[str, Job] = {}
    for event in _EVENT.finditer(text):
        time = datetime.strptime(event["time"], "%a %b %d %H:%M:%S %Y") if event["time"] else None
        if event["started"]:
            number, job = _job(event["started"], event["details"])
            jobs[number] = job
            job.began, job.local = time, event["local"] is not None
        elif event["failed"]:
            number, job = _job(event["failed"], event["why"])
            earlier = jobs.get(number)
            if earlier is not None:
                job.inputs, job.wildcards, job.began = earlier.inputs, earlier.wildcards, earlier.began
            job.failed, job.ended = True, time
            jobs[number] = job
        elif event["done"] in jobs:
            jobs[event["done"]].failed, jobs[event["done"]].ended = False, time
    host, command = (re.search(rf"^  {entry}: (.*)$", text, re.MULTILINE) for entry in ("Host", "Command"))
    return Run(
        _planned(text),
        jobs,
        over=_ENDED.search(text) is not None,
        host=host[1] if host else "",
        touched=bool(command and {"-t", "--touch"} & set(command[1].split())),
    )


# Beginnings of Snakemake's reasons, and what they mean to a person. The first that holds says enough.
_REASONS = {
    "Missing output files": "not there yet",
    "Forced execution": "asked for",
    "Incomplete output files": "left half done",
    "Params have changed": "settings or code changed",
    "Code has changed": "its rule changed",
    "Set of input files": "reads other files than before",
    "Updated input files": "what it reads is newer",
    "Software environment": "its environment changed",
    "Input files updated": "what it reads is made anew",
}


def why(reason: str) -> str:
    """Why a job runs, in a few words.

    >>> why("Missing output files: a.h5; Input files updated by another job: b.csv")
    'not there yet'
    >>> why("Updated input files: a.csv; Code has changed since last execution")
    'its rule changed'
    """
    parts = reason.split("; ")
    found = (said for begin, said in _REASONS.items() if any(part.startswith(begin) for part in parts))
    return next(found, parts[0].partition(":")[0].lower())


def _job(rule: str, details: str) -> tuple[str, Job]:
    entry = dict(re.findall(r"^    (jobid|input|output|log|benchmark|wildcards|reason): (.*)$", details, re.MULTILINE))
    job = Job(
        rule,
        _names(entry.get("input", "")),
        _names(entry.get("output", "")),
        _names(entry.get("log", "").split(" (check log file")[0]),
        entry.get("benchmark", ""),
        dict(pair.split("=", 1) for pair in _names(entry.get("wildcards", "")) if "=" in pair),
        reason=entry.get("reason", ""),
    )
    return entry.get("jobid", ""), job


def _planned(text: str) -> dict[str, int]:
    stats = re.search(r"^Job stats:\n.*\n-[- ]*\n(?P<rows>(?:\w+ +\d+\n)+)", text, re.MULTILINE)
    rows = re.findall(r"^(\w+) +(\d+)$", stats["rows"], re.MULTILINE) if stats else []
    return {rule: int(count) for rule, count in rows if rule != "total"}


def _names(listed: str) -> list[str]:
    return [name for name in listed.split(", ") if name]


def duration(seconds: float) -> str:
    """In the unit that a person would choose.

    >>> duration(7.4), duration(150), duration(7260), duration(589_000)
    ('7 s', '2.5 min', '2.0 h', '164 h')
    """
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72_000 else f"{seconds / 3600:,.0f} h"
