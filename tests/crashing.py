"""A check of files that crashes, for the process that `vmr verify` reads them in: it finds this module by its name."""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from vmr.storage.verify import Checked, check_file


@dataclass(frozen=True)
class At:
    """`check_file`, but a signal ends the process over files of that name, as a library that crashes does."""

    name: str
    number: int

    def __call__(self, path: Path) -> Checked:
        if path.name == self.name:
            signal.raise_signal(self.number)
        return check_file(path)


def may_not_read(path: Path) -> Checked:
    """`check_file`, but one file may not be read."""
    return Checked(None, unread="Permission denied") if path.name == "shard_1.h5" else check_file(path)


def never_ends(path: Path) -> Checked:
    """`check_file`, but over one file it goes round for ever, as libhdf5 may."""
    while path.name == "shard_1.h5":
        time.sleep(1)
    return check_file(path)
