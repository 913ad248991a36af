"""One query on one video: exported models, cached features, moments of videos of any length."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmr.locate.answers import Answer, Moment
    from vmr.locate.locator import Locator
    from vmr.locate.zero_shot import ActionLocator

__all__ = ["ActionLocator", "Answer", "Locator", "Moment"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for: torch takes seconds."""
    if name == "Locator":
        from vmr.locate.locator import Locator

        return Locator
    if name == "ActionLocator":
        from vmr.locate.zero_shot import ActionLocator

        return ActionLocator
    if name in ("Answer", "Moment"):
        from vmr.locate import answers

        return getattr(answers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
