"""What the catalogue says of a method. Nothing here imports torch, since the configuration and planning read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import Field

from vmr.settings.section import Section

Exchanged = Literal["query", "video"]  # the input that a blind method gets from another sample
# What training may look at: moments, or only which sentence goes with a video; none: there is no training.
Supervision = Literal["spans", "pairs", "none"]
Mark = Literal["circle", "square", "diamond", "up", "down", "cross", "plus"]
# How a method comes to its spans when it learns from them.
Kind = Literal["reinforcement", "proposals", "span regression and boundaries"]
# What a method was written from; an idea is what is told of it elsewhere, where neither paper nor code was at hand.
Source = Literal["paper", "paper and code", "code", "idea"]
# Of tables and pictures, in their order: what learns from pairs alone stands beside what sees nothing.
BLOCKS: tuple[str, ...] = ("baselines", "zero-shot", "weakly supervised", *get_args(Kind))


class MethodSettings(Section):
    """Settings of one method alone; a method with more of them has a subclass."""

    learning_rate: float | None = Field(
        default=None, gt=0, description="Of this method, chosen on validation; empty: that of `training`."
    )


@dataclass(frozen=True)
class Stage:
    """A part of a training, with an optimizer and a patience of its own.

    It begins with the best weights of the stage before.
    """

    name: str = "all"  # in the history
    share: float = 1.0  # of `training.epochs`, the most epochs that it lasts
    rate_factor: float = 1.0  # its learning rate is that of the method times this
    trained: tuple[str, ...] = ("",)  # beginnings of the names of the parameters that it trains
    evaluated: tuple[str, ...] = ()  # names of modules that stay in evaluation mode


@dataclass(frozen=True)
class Look:
    """How pictures show a method; marks and dashes differ too, so that nobody needs the colours."""

    light: str  # colour on light paper, as in CSS; of Okabe and Ito's palette
    dark: str  # colour on dark paper
    dash: str = ""  # lengths of dashes and gaps; empty: a whole line
    mark: Mark = "circle"  # shape of points


@dataclass(frozen=True)
class Method:
    """An entry of the catalogue."""

    name: str  # in the configuration, in paths and in records
    title: str  # in tables and pictures
    paper: str  # that describes it: authors, venue and year
    source: Source  # what it was written from
    about: str  # what it is, in a few words
    network: str  # MODULE:CLASS of its network. The module is imported when a network is built.
    look: Look  # in pictures
    kind: Kind = "span regression and boundaries"  # how it comes to its spans
    settings: type[MethodSettings] = MethodSettings  # its own section of the configuration
    variant_of: str = ""  # the method whose section it takes (without the learning rate) where its own says nothing
    lacks: str = ""  # what that method has and this one lacks; the table tells the effect of it
    arguments: Mapping[str, Any] = field(default_factory=dict)  # fixed arguments of the network's constructor
    stages: tuple[Stage, ...] = (Stage(),)  # of its training; their shares add up to 1
    exchanged: Exchanged | None = None  # the input that it gets from another sample, for blind methods
    supervision: Supervision = "spans"  # what its training may look at
    negatives: int = 0  # queries about other videos that are drawn for each query of a batch
    offsets: bool = False  # whether it moves the candidates among which it chooses, so that it can exceed their oracle
    one_span: bool = False  # whether it answers with a single span, so that its R@5 is its R@1
    # whether its scores were trained within a video, so that those of two videos do not compare
    within_video: bool = False

    @property
    def block(self) -> str:
        """Where it stands in tables and pictures, one of `BLOCKS`."""
        if self.exchanged:
            return "baselines"
        named = {"pairs": "weakly supervised", "none": "zero-shot"}
        return named.get(self.supervision, self.kind)
