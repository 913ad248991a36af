"""Write envs/licences.csv: name, version and licence of every package of the locks, as their metadata state it.

Packages that state none, or that this platform does not install, keep what the list had.
"""

import csv
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

HERE = Path(__file__).parent
LOCKS = ("requirements.txt", "assets.txt", "uv.txt")
OUTPUT = HERE / "licences.csv"
_UNKNOWN = "not stated; see its page"
_LONGEST = 80  # some write the whole text of the licence


def locked() -> set[tuple[str, str]]:
    """Name and version of every package of the locks; some have a version for each of several Pythons."""
    pinned = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^ ;\\]+)", re.MULTILINE)
    return {pin for lock in LOCKS for pin in pinned.findall((HERE / lock).read_text())}


def licence(name: str) -> str | None:
    """What the metadata of an installed package state; None where they state nothing."""
    try:
        facts = distribution(name).metadata
    except PackageNotFoundError:
        return None
    classes = [line.rpartition(" :: ")[2] for line in facts.get_all("Classifier", []) if line.startswith("License ::")]
    stated = [
        facts.get("License-Expression"),
        "; ".join(classes),
        (facts.get("License") or "").strip().partition("\n")[0],
    ]
    return next((text[:_LONGEST] for text in stated if text and text != "UNKNOWN"), None)


def main() -> None:
    """Write the list."""
    before = {}
    if OUTPUT.exists():
        with OUTPUT.open(newline="") as file:
            before = {row["name"]: row["licence"] for row in csv.DictReader(file)}
    with OUTPUT.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "version", "licence"])
        for name, version in sorted(locked()):
            writer.writerow([name, version, licence(name) or before.get(name, _UNKNOWN)])


if __name__ == "__main__":
    main()
