"""Memory that a process may still take from the machine, its job and a card; and reuse of freed memory."""

import contextlib
import ctypes
from pathlib import Path

import torch

# Slurm, Kubernetes and containers limit a job by control groups, of which Linux has two generations. Files with the
# limit, the memory in use, and the part of it that the kernel takes back first (pages of files).
_GENERATIONS = {
    "sys/fs/cgroup": ("memory.max", "memory.current", "inactive_file"),
    "sys/fs/cgroup/memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_UNKNOWN = 8 * 2**30
_CPU_BATCH = 4
# Device memory for a window of 64 x 224 x 224 in flight in float32: an estimate from I3D's first layers (outputs of
# 103, 26 and 77 MB, with their inputs, padded copies and the convolution's workspace). Too small a guess is mended by
# halving the batch. C3D and the backbones take less.
_BYTES_PER_WINDOW = 600 * 2**20


def free_memory_bytes(root: Path = Path("/")) -> int:
    """Bytes that this process can take before the machine or its job's limit stops it; 8 GiB where unknown."""
    free = [_available(root / "proc/meminfo")]
    for mount, group in _groups(root):
        folder = root / mount
        # The limits of all parent groups count. A container sees its parents under other names.
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
    """The groups that limit the memory of this process: mount point, and path below it."""
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


def batch_that_fits(device: torch.device, dtype: torch.dtype) -> int:
    """Windows in one batch: fixed on the CPU, by free memory on a card."""
    if device.type == "cpu":
        return _CPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    each = _BYTES_PER_WINDOW // (2 if dtype == torch.bfloat16 else 1)
    return int(min(max(0.6 * free // each, 1), 64))


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, since new pages took a tenth of the time (docs/decisions.md).

    Each piece of a video fills several arrays of a hundred megabytes. Only glibc can do it; elsewhere nothing changes.
    Over many videos the kept memory becomes fragmented: see `give_back_freed_memory`.
    """
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Return freed memory to the system, where glibc can; call it from time to time after `keep_freed_memory`."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
