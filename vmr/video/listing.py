"""Which videos lie in a folder now, as one short digest for each shard."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vmr.shard import shard_of


def folder_fingerprints(folder: Path | str, *, shards: int) -> list[str]:
    """Digest of the names, sizes and modification times of the files of each shard of a folder.

    A rule that carries its shard's digest among its parameters runs again when a video of that shard was added,
    replaced or removed, and only then. One look at the folder, no file is opened.

    Args:
        folder: the folder of videos; a missing one counts as empty.
        shards: number of shards of the dataset.

    Returns:
        `shards` strings of 16 hexadecimal digits.
    """
    entries: list[list[str]] = [[] for _ in range(shards)]
    try:
        with os.scandir(folder) as files:
            for file in files:
                if file.is_file():
                    status = file.stat()
                    line = f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}"
                    entries[shard_of(Path(file.name).stem, shards)].append(line)
    except FileNotFoundError:
        pass
    return [hashlib.sha256("\n".join(sorted(lines)).encode("utf-8")).hexdigest()[:16] for lines in entries]
