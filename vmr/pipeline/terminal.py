"""What Snakemake says in a terminal: a line a job, and what the jobs at work are doing.

Its own log file (.snakemake/log) stays as it is; `vmr progress` reads it.
"""

import logging
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from snakemake.logging import DefaultFormatter, get_event, logger
from snakemake_interface_logger_plugins.common import LogEvent

from vmr.pipeline.runlog import Job, duration, why

_HANDLER = "DefaultStreamHandler"
# Lines of Snakemake that tell a user nothing: begin of the text.
_SILENT = re.compile(
    r"Using workflow specific profile|Assuming unrestricted shared|host: |Building DAG of jobs|Using shell: "
    r"|Provided (cores|resources): |Rules claiming more threads|Conda environments: |Singularity containers: "
    r"|Select jobs to execute|Execute \d+ jobs|Workflow runtime: |Storing output in storage|\s*Rule: "
    r"|Exiting because a job execution failed|Reasons:\n|Some jobs were triggered by provenance"
)
_WORKED_ON = re.compile(r"Error: Directory cannot be locked\. Another Snakemake instance is running")  # of a dry run
_NO_RULE = re.compile(r"MissingRuleException:\s+No rule to produce (.+) \(if you use input")
_EVENTS = (LogEvent.WORKFLOW_STARTED, LogEvent.PROGRESS, LogEvent.JOB_STARTED, LogEvent.RESOURCES_INFO)
# How often what is at work is told: in a terminal on its last line; elsewhere in a line of its own, ever more rarely.
_TICK_SEC, _FIRST_SEC, _MOST_SEC = 2.0, 60.0, 600.0
_CLEAR = "\r\x1b[K"


class OneLine(logging.Formatter):
    """Formats Snakemake's messages, a line a job; and knows which jobs are at work."""

    def __init__(
        self, other: logging.Formatter, *, dryrun: Callable[[], bool], unknown: Callable[[str], str], clear: bool
    ) -> None:
        super().__init__()
        self._other = other
        self._dryrun, self._unknown, self._clear = dryrun, unknown, clear
        self.at_work: dict[int, Job] = {}
        self._done, self._total, self._told_stats = 0, 0, False

    def format(self, record: logging.LogRecord) -> str:
        """The message; nothing for one that tells a user nothing."""
        event, values = get_event(record), vars(record)
        if event is LogEvent.JOB_INFO:
            job = self.at_work[int(values["jobid"])]
            text = f"{job.title}: {why(job.reason)}{_first(job.reason)}"
        elif event is LogEvent.JOB_FINISHED:
            text = self._finished(int(values["job_id"]))
        elif event is LogEvent.JOB_ERROR:
            text = self._failed(values)
        elif event is LogEvent.RUN_INFO:
            text = self._stats(values)
        elif event is LogEvent.ERROR and (target := _NO_RULE.match(str(record.msg))):
            text = self._unknown(target[1])
        elif event in _EVENTS or (event is None and _SILENT.match(str(record.msg))):
            text = ""
        elif event is None and _WORKED_ON.match(str(record.msg)):
            text = "Another run works on some of these files; what is planned here is what it has not done yet."
        else:
            text = self._other.format(record)
        return f"{_CLEAR}{text}" if text and self._clear else text

    def shown(self, record: logging.LogRecord) -> bool:
        """Note a job that starts; it is told when it ends, but in a dry run, where it does not."""
        if get_event(record) is not LogEvent.JOB_INFO:
            return True
        values = vars(record)
        self.at_work[int(values["jobid"])] = Job(
            values["rule_name"],
            list(values["input"]),
            list(values["output"]),
            list(values["log"]),
            wildcards=dict(values["wildcards"]),
            began=datetime.now(),
            reason=str(values["reason"]),
            local=bool(values.get("local")),
        )
        return self._dryrun()

    def _finished(self, number: int) -> str:
        self._done += 1
        job = self.at_work.pop(number, None)
        if job is None or job.began is None:
            return ""
        took = duration((datetime.now() - job.began).total_seconds())
        return f"{self._count()}{job.title}: {took}"

    def _failed(self, values: Mapping[str, Any]) -> str:
        job = self.at_work.pop(int(values["jobid"]), None) or Job(str(values["rule_name"]))
        said = ""
        with suppress(OSError, IndexError):
            said = Path(values["log"][0]).read_text(errors="replace").strip().splitlines()[-1].split("\r")[-1]
        return f"{self._count()}{job.title}: FAILED{f': {said}' if said else ''}"

    def _count(self) -> str:
        width = len(str(self._total))
        return f"[{self._done:{width}} of {self._total}] " if self._total else ""

    def _stats(self, values: Mapping[str, Any]) -> str:
        """The number of jobs of each rule: of a dry run, once; a run has a table of its own with hours."""
        self._total = int(dict(values.get("stats") or {}).get("total", 0))
        told, self._told_stats = self._told_stats, True
        return "" if told or not self._dryrun() else str(values["msg"])

    def telling(self, folder: Path) -> str:
        """What the jobs at work are doing, those that tell most first."""
        from vmr.pipeline.progress import at_work  # pandas, which a short run does without

        now = datetime.now()
        parts = [f"{job.title}: {at_work(job, folder, now)}" for job in list(self.at_work.values())]
        return (
            f"{self._count()}{'; '.join(sorted(parts, key=lambda part: ('epoch' not in part, 'videos' not in part)))}"
        )


def _first(reason: str) -> str:
    """The first file that a reason names, where it is one that another job has not just made."""
    found = re.search(r"(?:Updated input files|Missing output files|Incomplete output files): ([^,;]+)", reason)
    return f" ({found[1]})" if found else ""


def one_line_a_job(*, dryrun: Callable[[], bool], unknown: Callable[[str], str]) -> OneLine | None:
    """Have Snakemake print a line a job from now on; None where something else than its own way of printing is chosen.

    Args:
        dryrun: whether this is one; it is asked at the first job, since Snakemake does not know before.
        unknown: what to say about a target that no rule makes.
    """
    handler = next((one for one in logger.handlers if one.name == _HANDLER), None)
    if not isinstance(handler, logging.StreamHandler) or not isinstance(handler.formatter, DefaultFormatter):
        return None
    formatter = OneLine(handler.formatter, dryrun=dryrun, unknown=unknown, clear=handler.stream.isatty())
    handler.setFormatter(formatter)
    handler.addFilter(formatter.shown)
    return formatter


class StopAfterChecks(logging.Handler):
    """Ends a run, when its jobs at work have ended, once a check has failed and so no table can come of it.

    Snakemake goes on with all that does not wait for a failed job, and no training waits for the checks.

    Args:
        hopeless: whether no table can come, by the datasets whose checks have failed.
    """

    def __init__(self, hopeless: Callable[[set[str]], bool]) -> None:
        super().__init__()
        self._hopeless, self._failed, self._over = hopeless, set[str](), False

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a failed job."""
        values = vars(record)
        if self._over or get_event(record) is not LogEvent.JOB_ERROR or not values["rule_name"].startswith("check_"):
            return
        self._failed.add(Path(values["output"][0]).parts[1])
        if self._hopeless(self._failed):
            self._over = True
            os.kill(os.getpid(), signal.SIGTERM)  # Snakemake's own way to end in good order


def keep_telling(formatter: OneLine, folder: Path) -> threading.Event:
    """Tell again and again what the jobs at work are doing, until the event that is returned is set."""
    over = threading.Event()
    threading.Thread(target=_tell, args=(formatter, folder, over), daemon=True).start()
    return over


def _tell(formatter: OneLine, folder: Path, over: threading.Event) -> None:
    on_terminal, wait = sys.stderr.isatty(), _FIRST_SEC
    while not over.wait(_TICK_SEC if on_terminal else wait):
        if not formatter.at_work:
            continue
        try:
            text = formatter.telling(folder)
        except (OSError, ValueError, RuntimeError):  # a file that a job is writing; jobs that end meanwhile
            continue
        if on_terminal:
            text = text[: shutil.get_terminal_size().columns - 1]
            sys.stderr.write(f"{_CLEAR}{text}")
        else:
            sys.stderr.write(f"{text}\n")
            wait = min(1.5 * wait, _MOST_SEC)
        sys.stderr.flush()
    if on_terminal:
        sys.stderr.write(_CLEAR)
