"""Which device a stage computes on, and turns for processes that share a machine's cards.

Schedulers such as Slurm give each job its own card. On a workstation, parallel jobs would all take the first one. So
the stages that fill a card (extraction, training) lock a file that is named after it, and wait while all cards are
taken. The lock ends with the process.
"""

import atexit
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vmr.errors import ConfigError
from vmr.machine.use_log import CARD_USED
from vmr.storage.locks import try_lock

log = logging.getLogger(__name__)

# In these variables Slurm names the cards of the job.
_ASSIGNED = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
# Set by a user whose card is large enough for several jobs at a time.
_SHARED = "VMR_SHARE_GPU"
_LOOK_AGAIN_SEC = 1.0
_LOCKS = Path("/tmp")
# Locks of this process, by the card's name: a second claim in one process must not wait for the first.
_held: dict[str, int] = {}


def choose_device(name: str) -> torch.device:
    """The device that a name means: ``"auto"`` is CUDA where there is one, else the CPU.

    Args:
        name: ``"auto"``, ``"cpu"``, ``"cuda"`` or one card, such as ``"cuda:1"``.

    Raises:
        ConfigError: the name is unknown, or the device does not exist.
    """
    kind, _, number = name.partition(":")
    if name not in ("auto", "cpu") and (kind != "cuda" or not (name == kind or number.isdecimal())):
        raise ConfigError(f"device is {name!r}; expected auto, cpu or cuda")
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if kind == "cuda" and not available:
        raise ConfigError(f"device is {name}, but torch finds no CUDA device. Set it to auto or cpu.")
    if number and int(number) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name}, but torch finds {torch.cuda.device_count()} CUDA devices, from cuda:0 on."
        )
    return torch.device(name)


def claim_device(name: str) -> torch.device:
    """The device that a name means; on CUDA a card that this process alone claims until it ends.

    Waits while all cards are taken. A single card given by Slurm is not locked, and no card is where the variable
    ``VMR_SHARE_GPU`` is set. Several cards given by Slurm are claimed like those of a workstation, since jobs of one
    session share them. The chosen card becomes torch's current one.

    Names and errors are those of `choose_device`; ``"cuda"`` and ``"auto"`` choose among all visible cards.
    """
    device = choose_device(name)
    if device.type != "cuda":
        return device
    given = torch.cuda.device_count() == 1 and any(variable in os.environ for variable in _ASSIGNED)
    if given or _SHARED in os.environ:
        atexit.register(_log_use, device, time.monotonic())
        return device
    indices = range(torch.cuda.device_count()) if device.index is None else [device.index]
    # The number of a card depends on which cards a process sees; its UUID does not.
    cards = {index: str(getattr(torch.cuda.get_device_properties(index), "uuid", index)) for index in indices}
    # Not the user's own TMPDIR, since all users share the locks.
    folder = _LOCKS if _LOCKS.is_dir() else Path(tempfile.gettempdir())
    index = claim_card(cards, folder=folder)
    torch.cuda.set_device(index)
    atexit.register(_log_use, torch.device("cuda", index), time.monotonic())
    log.info("cuda:%d (%s) is this process's until it ends", index, cards[index])
    return torch.device("cuda", index)


def claim_card(cards: Mapping[int, str], *, folder: Path) -> int:
    """The number of the first free card; waits while all are taken.

    Args:
        cards: names by number; each name is the same in every process.
        folder: of the locks; on a disk of this machine, the same folder for all users.
    """
    for index, card in cards.items():
        if card in _held:
            return index
    waiting = False
    while True:
        for index, card in cards.items():
            try:
                lock = try_lock(folder / f"vmr-gpu-{card}.lock", create=True)
            except OSError as error:
                log.warning("cards cannot be locked here (%s). Run only one job a card.", error)
                return index
            if lock is not None:
                _held[card] = lock
                return index
        if not waiting:
            log.info("every card is taken by another process (%s): waiting for one", ", ".join(cards.values()))
        waiting = True
        time.sleep(_LOOK_AGAIN_SEC)


def _log_use(device: torch.device, begin: float) -> None:
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # the process ended before it computed anything
        return
    memory = torch.cuda.max_memory_reserved(device) / 2**20
    log.info(CARD_USED, time.monotonic() - begin, memory)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Compute deterministically on a card, where torch can; a CPU does so anyway."""
    if device.type != "cuda":
        yield
        return
    # cuBLAS reads it at its first use; without it, equal products may differ in their last bits.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    how: Any = torch.utils.deterministic
    before, filling = torch.are_deterministic_algorithms_enabled(), how.fill_uninitialized_memory
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    how.fill_uninitialized_memory = False  # nothing of ours is read before it is written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)
        how.fill_uninitialized_memory = filling


def describe(device: torch.device) -> str:
    """The device in words, for the record of a run."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
