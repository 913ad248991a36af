"""Locks that runs of Snakemake leave when they are killed: taken away where nothing of the run is alive.

Snakemake's lock names files, but nobody who holds it. So a run notes its process once it has the lock. Linux only;
elsewhere `--unlock` remains.
"""

import atexit
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vmr.storage.files import write_text

_PROC = Path("/proc")


def note_owner(folder: Path, *, is_local: bool) -> None:
    """Note that this process has the lock of a folder, until it ends by itself.

    Args:
        is_local: whether the jobs are processes of this machine, too.
    """
    if not _PROC.is_dir():
        return
    facts = {**_here(), "pid": os.getpid(), "begun": _begun(os.getpid()), "group": os.getpgrp(), "is_local": is_local}
    note = (folder / ".snakemake/owners" / f"{socket.gethostname()}-{os.getpid()}.json").absolute()
    write_text(note, json.dumps(facts))
    atexit.register(note.unlink, missing_ok=True)


def open_abandoned(folder: Path) -> str:
    """Remove the locks of a folder if all their owners were killed, with all their jobs; a sentence for the user.

    Returns:
        What was done, or what is to be done; empty where there is no lock, or one that may still be held.
    """
    locks = list((folder / ".snakemake/locks").glob("*.lock"))
    owners = dict(_owners(folder))
    if not locks or not owners or any(_may_live(owner) for owner in owners.values()):
        return ""
    # One that is newer than all notes belongs to a run that has not noted itself yet.
    noted = max(note.stat().st_mtime_ns for note in owners)
    if any(lock.stat().st_mtime_ns > noted for lock in locks):
        return ""
    killed = "The run that had the lock of this folder was killed"
    if left := sorted({pid for owner in owners.values() for pid in _jobs_of(owner)}):
        pids = " ".join(map(str, left))
        return f"{killed}, but its jobs go on. Wait until they end, or end them: kill {pids}"
    if not all(owner["is_local"] for owner in owners.values()):
        return f"{killed}. When none of its jobs is left in the queue, type: snakemake --unlock"
    for path in [*locks, *owners]:
        path.unlink(missing_ok=True)
    return f"{killed}, and nothing of it is left: its lock was taken away."


def _owners(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for note in (folder / ".snakemake/owners").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            yield note, json.loads(note.read_text())


def _here() -> dict[str, str]:
    """What tells the processes of this machine, since its start, from those of others and of other containers."""
    return {
        "host": socket.gethostname(),
        "boot": (_PROC / "sys/kernel/random/boot_id").read_text().strip(),
        "pids": os.readlink(_PROC / "self/ns/pid"),  # noqa: PTH115 - no path
    }


def _may_live(owner: dict[str, Any]) -> bool:
    here = _here()
    if owner["host"] != here["host"]:
        return True
    if owner["boot"] != here["boot"]:
        return False
    return bool(owner["pids"] != here["pids"] or _begun(owner["pid"]) == owner["begun"])


def _jobs_of(owner: dict[str, Any]) -> Iterator[int]:
    """Living processes of the group of an owner; those that began this process are of the same shell."""
    if owner["boot"] != _here()["boot"]:
        return
    ours, own = set(), os.getpid()
    while own > 0:
        ours.add(own)
        own = int((_stat(own) or ["", "0"])[1])
    for entry in _PROC.glob("[0-9]*"):
        stat = _stat(int(entry.name))
        if stat and int(stat[2]) == owner["group"] and stat[0] != "Z" and int(entry.name) not in ours:
            yield int(entry.name)


def _begun(pid: int) -> str:
    """When a process began, in ticks since the start of the machine; empty where there is none of that number."""
    stat = _stat(pid)
    return stat[19] if stat and stat[0] != "Z" else ""


def _stat(pid: int) -> list[str]:
    """State, parent, group and so on: what stands in `/proc/PID/stat` behind the name, which may hold anything."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
