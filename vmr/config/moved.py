"""Settings that have moved: old files keep working, with a word."""

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

_MOVED = {
    "model.alignment": "methods.ci_mha.alignment",
    "model.segmentation_weight": "methods.ci_mha.segmentation_weight",
}


def moved(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of some sections with old settings in their new places; what stands in the new place wins."""
    result = {name: dict(own) if isinstance(own, Mapping) else own for name, own in values.items()}
    rates = result.get("training", {}).get("learning_rates") if isinstance(result.get("training"), dict) else None
    places = dict(_MOVED)
    if isinstance(rates, Mapping):
        result["training"] |= {f"learning_rates.{method}": rate for method, rate in rates.items()}
        del result["training"]["learning_rates"]
        places |= {f"training.learning_rates.{method}": f"methods.{method}.learning_rate" for method in rates}
    for old, new in places.items():
        section, _, name = old.partition(".")
        if not isinstance(result.get(section), dict) or name not in result[section]:
            continue
        value = result[section].pop(name)
        _, method, setting = new.split(".")
        methods = result["methods"] = dict(result.get("methods") or {})
        methods[method] = {setting: value, **(methods.get(method) or {})}
        log.warning("the setting %s has moved to %s; write it there", old, new)
    return result
