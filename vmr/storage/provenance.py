"""The provenance of a file: versions of the libraries, and the entries that only describe the machine."""

import importlib.metadata
import platform
from collections.abc import Iterable
from typing import Any

# Shards may come from several machines; these entries change features by rounding only.
_OF_THE_MACHINE = ("device", "device_name", "versions")


def library_versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions of the named distributions, and of Python, for the provenance of a file."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def without_machine(provenance: dict[str, Any]) -> dict[str, Any]:
    """A provenance without the entries that only describe the machine and the versions."""
    return {
        key: without_machine(value) if isinstance(value, dict) else value
        for key, value in provenance.items()
        if key not in _OF_THE_MACHINE
    }


def only_machine(provenance: dict[str, Any]) -> dict[str, Any]:
    """The entries that `without_machine` leaves out, at the same places.

    >>> only_machine({"fps": 24, "device": "cuda", "frames": {"fps": 24, "versions": {"decord": "0.6.0"}}})
    {'device': 'cuda', 'frames': {'versions': {'decord': '0.6.0'}}}
    """
    found: dict[str, Any] = {}
    for key, value in provenance.items():
        if key in _OF_THE_MACHINE:
            found[key] = value
        elif isinstance(value, dict) and (inner := only_machine(value)):
            found[key] = inner
    return found
