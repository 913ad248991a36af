"""The lines by which a process logs its use of the machine, and how they are read again, without torch."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

CARD_USED = "a card was held for %.1f s, with at most %.0f MiB in use"
_CORES_USED = "%.1f s of processor time, with all processes that it waited for"
_OF_MACHINE = "%.1f %% of what this machine can do, over %.1f s%s"
_NEAR = 0.8  # from here on nothing is said of what holds the stage up
_SHORTEST_SEC = 10.0  # in less, starting and ending count too much

log = logging.getLogger(__name__)


def log_cores_used() -> None:
    """Log the processor time of this process. Snakemake's count misses children that live shorter than its polls."""
    log.info(_CORES_USED, sum(os.times()[:4]))


def cores_used(text: str) -> float:
    """Seconds of processor time that the processes of a log told; 0 where none did."""
    return sum(map(float, re.findall(r"([\d.]+) s of processor time, with all", text)))


def cards_used(text: str) -> list[tuple[float, float]]:
    """For each process, seconds for which it held a card and the most MiB in use, from the lines of a log."""
    found = re.finditer(r"a card was held for (?P<seconds>[\d.]+) s, with at most (?P<memory>[\d.]+) MiB in use", text)
    return [(float(use["seconds"]), float(use["memory"])) for use in found]


def log_share(share: float, *, seconds: float, held_up: str) -> None:
    """Log how near a stage has come to what its machine can do; not of some seconds alone.

    Args:
        share: 0 to 1; what is above, by the noise of measuring, counts as 1.
        seconds: how long it has worked so far.
        held_up: what kept it from more, and what to do; told where the share is low.
    """
    if seconds >= _SHORTEST_SEC:
        log.info(_OF_MACHINE, 100 * min(share, 1.0), seconds, f": {held_up}" if share < _NEAR else "")


def share_told(text: str) -> tuple[float, float, str] | None:
    """Share (0 to 1), seconds and what held it up, from the last such line of a log; None where there is none."""
    found = re.findall(r"([\d.]+) % of what this machine can do, over ([\d.]+) s(?:: (.*))?$", text, re.MULTILINE)
    return (float(found[-1][0]) / 100, float(found[-1][1]), found[-1][2]) if found else None


def mean_share(told: Iterable[tuple[float, float, str] | None]) -> float | None:
    """The share of several jobs, each counted by its seconds; None where none told one."""
    known = [one for one in told if one is not None]
    return sum(share * seconds for share, seconds, _ in known) / sum(one[1] for one in known) if known else None


@contextmanager
def cores_told(workers: int) -> Iterator[None]:
    """Log which share of its cores a stage used, with all processes that it waited for: one core for each worker."""
    cores = min(workers, len(os.sched_getaffinity(0)))
    before = os.times()
    yield
    used = [after - earlier for after, earlier in zip(os.times(), before, strict=True)]
    seconds = used.pop()
    share = sum(used) / max(cores * seconds, 1e-9)
    log_share(
        share, seconds=seconds, held_up="its cores waited, for the disk, for a last long video or for other programs"
    )
