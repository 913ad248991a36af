"""Checks of values against models, with errors that name the nearest right setting."""

import difflib
from collections.abc import Mapping
from copy import deepcopy
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from vmr.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
_SHOWN = 12  # wrong entries


def inner_type(kind: Any) -> Any:
    """A type without what surrounds it: `Annotated`, or that it may be None."""
    while get_origin(kind) is Annotated or NoneType in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    return kind


def overlaid(base: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` with the values of `overrides` in place of its own; mappings are merged."""
    merged = deepcopy(base)
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = overlaid(merged[key], value)
        else:
            merged[key] = value
    return merged


def validated(model: type[Model], values: dict[str, Any], source: str) -> Model:
    """The model filled with values.

    Args:
        source: for messages: where the values stand.

    Raises:
        ConfigError: names the first wrong entries, with the nearest known key for unknown ones.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        lines = [f"{source}: {'an entry is' if len(problems) == 1 else f'{len(problems)} entries are'} wrong:"]
        for problem in problems[:_SHOWN]:
            where = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                key = str(problem["loc"][-1])
                known = _known_keys(model, problem["loc"][:-1])
                lines.append(f"  {where}: there is no such setting{nearest(key, known)}")
            else:
                lines.append(f"  {where}: {problem['msg']} (found: {problem['input']!r:.80})")
        lines += [f"  and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ConfigError("\n".join(lines)) from error


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    node: Any = schema
    for part in location:
        properties = node.get("properties", {})
        node = properties.get(str(part), node.get("additionalProperties", {}))
        for choice in [node, *node.get("anyOf", [])]:
            if "$ref" in choice:
                node = definitions[choice["$ref"].rsplit("/", 1)[-1]]
                break
    return list(node.get("properties", {}))


def nearest(key: str, known: list[str]) -> str:
    """End of a message: the known key that one most resembles, else all known ones."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else (f"; known: {', '.join(known)}" if known else "")
