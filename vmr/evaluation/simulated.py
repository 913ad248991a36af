"""Whether scores are of simulated features, and what tables call these then: decided here, and nowhere else."""

from collections.abc import Mapping
from typing import Any

from vmr.names import SIMULATED


def is_simulated(record: Mapping[str, Any]) -> bool:
    """Whether the features that a record of scores names are simulated.

    The record says so where the provenance of the features was known. Else their name decides.

    >>> is_simulated({"features": "simulated_small"}), is_simulated({"features": "i3d", "simulated": True})
    (True, True)
    >>> is_simulated({"features": "i3d"})
    False
    """
    return record.get("simulated") is True or str(record.get("features") or "").startswith(SIMULATED)


def told_by(provenance: object) -> bool:
    """Whether the provenance of features says, at whatever depth, that they are simulated: imports nest it.

    >>> told_by({"extractor": "my_i3d", "source_provenance": {"simulated": True}}), told_by({"extractor": "i3d"})
    (True, False)
    """
    if isinstance(provenance, Mapping):
        return provenance.get("simulated") is True or any(map(told_by, provenance.values()))
    return isinstance(provenance, list) and any(map(told_by, provenance))


def features_title(record: Mapping[str, Any]) -> str:
    """What tables call the features of a record: their name, which never hides that they are simulated.

    >>> features_title({"features": "my_i3d", "simulated": True}), features_title({"features": "simulated"})
    ('my_i3d (simulated)', 'simulated')
    """
    name = str(record["features"])
    return f"{name} ({SIMULATED})" if is_simulated(record) and SIMULATED not in name else name
