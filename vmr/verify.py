"""Looking for files of a dataset that were cut or altered after they were written, and removing them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
from tqdm import tqdm

from vmr.checksums import UNREADABLE, altered, is_sealed, links_of
from vmr.errors import ConfigError

_SHOWN = 3


@dataclass
class Verified:
    """What became of the files of a dataset.

    Attributes:
        files: number of files that were read.
        size_bytes: of all of them.
        damaged: the bad ones, and what is wrong with each.
        unsealed: files without checksums, which were only opened.
    """

    files: int = 0
    size_bytes: int = 0
    damaged: dict[Path, str] = field(default_factory=dict)
    unsealed: list[Path] = field(default_factory=list)


def verify_files(folder: Path) -> Verified:
    """Read every HDF5 file that the workflow has made for a dataset, and compare it with its checksums.

    Args:
        folder: such as ``work/charades``.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder. Name the dataset, and with --work the folder of its files.")
    result = Verified()
    links: dict[Path, set[Path]] = {}
    for path in tqdm(list(_files_of(folder)), desc="verify", unit="file", disable=None):
        result.files += 1
        try:
            result.size_bytes += path.stat().st_size
            with h5py.File(path, "r", locking=False) as file:
                if not is_sealed(file):
                    result.unsealed.append(path)
                if wrong := altered(file):
                    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
                    result.damaged[path] = f"not as written: {', '.join(wrong[:_SHOWN])}{more}"
                else:
                    links[path] = {(path.parent / name).resolve() for name in links_of(file) if name}
        except UNREADABLE as error:
            result.damaged[path] = f"not readable: {error}"
    # A merged file is good for nothing without its shards, and Snakemake makes these only for one that is not there.
    bad = {path.resolve() for path in result.damaged}
    for path, targets in links.items():
        if lost := sorted(target for target in targets if target in bad or not target.exists()):
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            result.damaged[path] = f"links to {lost[0].name}{more}, which is damaged or missing"
    return result


def _files_of(folder: Path) -> Iterator[Path]:
    """Files of a folder and of those that it links to, as to a larger disk; each folder once, should links go round."""
    seen: set[Path] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        seen.add(Path(root).resolve())
        # Parts of a shard at work are checked by who goes on with it; hidden files are being written.
        folders[:] = [
            name for name in sorted(folders) if not name.endswith(".parts") and Path(root, name).resolve() not in seen
        ]
        yield from (Path(root, name) for name in sorted(names) if name.endswith(".h5") and not name.startswith("."))
