"""Options of the commands that rules run, as text for a shell: nothing in them is run, whatever a value holds."""

import re
import shlex
from collections.abc import Iterable

from pydantic import BaseModel


def options(section: BaseModel, *left_out: str) -> str:
    """The entries of a section as options of the same names; unset ones and those left out are not passed.

    >>> from vmr.config.datasets import RenderSettings
    >>> options(RenderSettings(train_videos=3, test_videos=1, duration_sec=4, seed=0), "test_videos")
    '--train-videos 3 --duration-sec 4.0 --seed 0'
    """
    entries = section.model_dump(exclude=set(left_out))
    return " ".join(
        _option(f"--{name.replace('_', '-')}", value)
        for name, value in entries.items()
        if value is not None and value is not False and value != []  # 0 is a value
    )


def _option(name: str, value: object) -> str:
    """An option with its value; a flag has none, and a list gives the option once for each value."""
    if value is True:
        return name
    return repeated(name, value if isinstance(value, list) else [value])


def repeated(option: str, values: Iterable[object]) -> str:
    """The same option once for each value.

    >>> repeated("--splits", ["val_1", "my split"])
    "--splits val_1 --splits 'my split'"
    """
    return " ".join(f"{option} {shlex.quote(str(value))}" for value in values)


def refusal_of_spaces(*paths: object) -> str:
    """Why a scheduler cannot start jobs from these paths, which Snakemake does not quote; empty: it can.

    >>> refusal_of_spaces("/home/jo/vmr", "/home/jo/vmr/.venv/bin/python")
    ''
    >>> refusal_of_spaces("/home/jo doe/vmr").partition(":")[0]
    '/home/jo doe/vmr'
    """
    for path in paths:
        if re.search(r"\s", str(path)):
            return (
                f"{path}: schedulers cannot start jobs from a folder with a space in its path, since "
                "Snakemake does not quote it. Move the checkout, and make .venv there."
            )
    return ""


def of_all_shards(option: str, files: Iterable[object]) -> str:
    """An option for files of shards, short however many they are (see `vmr.storage.files.numbered_files`).

    >>> of_all_shards("--shards", ["a/shard_0.h5", "a/shard_1.h5", "a/shard_2.h5", "a/shard_7.h5"])
    "--shards 'a/shard_{0..2}.h5' --shards a/shard_7.h5"
    """
    numbers: dict[tuple[str, str], set[int]] = {}
    for file in files:
        before, number, after = re.fullmatch(r"(.*shard_)(\d+)(\.\w+)", str(file)).groups()  # type: ignore[union-attr]
        numbers.setdefault((before, after), set()).add(int(number))
    values = []
    for (before, after), found in numbers.items():
        # A run begins after each number that is missing, and ends before the next.
        firsts = sorted(found - {number + 1 for number in found})
        lasts = sorted(found - {number - 1 for number in found})
        for first, last in zip(firsts, lasts, strict=True):
            values.append(f"{before}{first if first == last else f'{{{first}..{last}}}'}{after}")
    return repeated(option, values)
