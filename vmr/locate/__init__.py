"""One query on one video: exported models, cached features, moments of videos of any length."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmr.locate.answers import Answer as Answer
    from vmr.locate.answers import Moment as Moment
    from vmr.locate.locator import Locator as Locator
    from vmr.locate.zero_shot import ActionLocator as ActionLocator

_HOMES = {"Answer": "answers", "Moment": "answers", "Locator": "locator", "ActionLocator": "zero_shot"}


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for: torch takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
