"""How much memory a process may still take: that of the machine, and that of the job it runs in."""

from pathlib import Path

# Names of the limit, of what is in use, and of the part of it that the kernel takes back first (pages of files), in the
# two generations of Linux's control groups, by which Slurm, Kubernetes and containers bound a job.
_GENERATIONS = {
    "sys/fs/cgroup": ("memory.max", "memory.current", "inactive_file"),
    "sys/fs/cgroup/memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_UNKNOWN = 8 * 2**30


def free_memory_bytes(root: Path = Path("/")) -> int:
    """Memory that this process can take before the machine or a limit of its job stops it.

    Args:
        root: where `proc` and `sys` are looked for.

    Returns:
        Bytes; 8 GiB where the system does not say.
    """
    free = [_available(root / "proc/meminfo")]
    for mount, group in _groups(root):
        folder = root / mount
        # The limit of every group above counts, too. A container sees the groups above its own under other names.
        for path in (folder / group, *(folder / group).parents):
            if not path.is_relative_to(folder):
                break
            free.append(_left(path, *_GENERATIONS[mount]))
    known = [max(value, 0) for value in free if value is not None]
    return min(known, default=_UNKNOWN)


def _available(meminfo: Path) -> int | None:
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _groups(root: Path) -> list[tuple[str, str]]:
    """Where the groups of this process that bound memory lie: a mount point, and the path below it."""
    found = []
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.append(("sys/fs/cgroup", path.lstrip("/")))
        elif "memory" in controllers.split(","):
            found.append(("sys/fs/cgroup/memory", path.lstrip("/")))
    return found


def _left(group: Path, limit: str, used: str, reclaimed: str) -> int | None:
    try:
        allowed, taken = ((group / name).read_text(encoding="ascii").strip() for name in (limit, used))
        told = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        # Without a limit the second generation says "max", the first a number beyond any machine.
        return None if allowed == "max" else int(allowed) - int(taken) + int(told.get(reclaimed, 0))
    except (OSError, ValueError):
        return None
