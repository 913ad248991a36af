"""JSON of other people: never so deep that Python's recursion ends, here or where a value is printed."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_DEEPEST = 100
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_OTHERS = re.compile(r"[^\[\]{}]+")


class DeepError(ValueError):
    """Lists in lists, or objects in objects, without an end in sight."""


def load_json(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """What a text of JSON holds.

    Args:
        text: bytes are UTF-8.
        pairs: makes the value of an object out of its names and values; None: a dictionary.

    Raises:
        ValueError: it is no JSON, or no UTF-8.
        DeepError: it is nested more than a hundred deep.
    """
    text = text if isinstance(text, str) else text.decode("utf-8")
    if text.count("[") + text.count("{") > _DEEPEST and _depth(text) > _DEEPEST:
        raise DeepError(f"it is nested more than {_DEEPEST} deep, which no file that is meant is")
    return json.loads(text, object_pairs_hook=pairs)


def _depth(text: str) -> int:
    """How deep lists and objects stand in each other.

    >>> _depth('[{"a": "[[["}, []]')
    2
    """
    brackets = np.frombuffer(_OTHERS.sub("", _TEXTS.sub("", text)).encode(), np.uint8)
    return int(np.cumsum(np.where(np.isin(brackets, list(b"[{")), 1, -1)).max(initial=0))
