"""The catalogue of methods: whatever lists methods takes them from here, in this order.

A new method is an entry here, and a section above it where it has settings of its own; its network is a file beside
this one. Nothing here imports torch.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema, create_model

from vmr.errors import ConfigError
from vmr.methods.entry import BLOCKS, Look, Method, MethodSettings, Stage
from vmr.names import Alignment
from vmr.settings.checks import nearest
from vmr.settings.section import Section
from vmr.storage.code_digest import code_digest

_GREY = ("#767b84", "#969ca6")
_DROPPING = ("query_encoder", "video_encoder")
_MLVI_PROPOSALS = (*_DROPPING, "gate", "convolutions", "anchor")
_DRN_SPANS = (*_DROPPING, "commands", "pyramid", "match", "span_tower", "distances", "level_scale")


class CiMhaSettings(MethodSettings):
    """CI-MHA and its variants."""

    alignment: Alignment = Field(
        default="swap", description="Reading of eqs 7-9: swap, attention, cross or pad (docs/ablation.md)."
    )
    segmentation_weight: float = Field(
        default=1.0, ge=0, description="Weight of the moment segmentation loss, eqs 15-16."
    )


class CtrlSettings(MethodSettings):
    """CTRL."""

    offset_weight: float = Field(
        default=0.08, ge=0, description="Weight of the loss of offsets in steps (the paper's 0.01, in frames)."
    )


class Tan2dSettings(MethodSettings):
    """2D-TAN."""

    clips: int = Field(default=16, gt=0, description="Clips that a video is cut into (16 on Charades-STA, else 64).")
    kernel: int = Field(default=5, gt=0, description="Cells on a side that a convolution sees, odd (5; 9 of 64 clips).")
    layers: int = Field(default=8, gt=0, description="Convolutions over the map (8; 4 of 64 clips).")
    query_layers: int = Field(default=3, gt=0, description="LSTMs of the sentence (the paper: 3).")
    lowest_iou: float = Field(
        default=0.5, ge=0, lt=1, description="IoU up to which a candidate should score 0 (the paper: 0.5)."
    )


class MllcSettings(MethodSettings):
    """MLLC."""

    clips: int = Field(
        default=8, gt=0, description="Clips that a video is cut into (the paper: 6); 8 make 36 moments, 1,296 pairs."
    )
    margin: float = Field(default=0.1, ge=0, description="Margin of the ranking loss.")
    other_video: float = Field(
        default=0.2, ge=0, le=1, description="Share of the loss that compares with other videos."
    )
    near_iou: float = Field(
        default=0.5, ge=0, le=1, description="Temporal IoU above which a moment of the video is no negative."
    )


class ManSettings(MethodSettings):
    """MAN."""

    parts: int = Field(
        default=16, gt=0, description="Parts of the video in the finest level, a power of two (16: 31 candidates)."
    )
    iterations: int = Field(default=3, gt=0, description="Iterations of the graph between candidates.")
    offset_weight: float = Field(default=1.0, ge=0, description="Weight of the loss of offsets, in lengths.")


class VslNetSettings(MethodSettings):
    """VSLNet."""

    kernel: int = Field(default=7, gt=0, description="Steps that a convolution sees, odd (the paper: 7).")
    layers: int = Field(default=4, gt=0, description="Convolutions of the encoder (the paper: 4).")
    highlight_weight: float = Field(default=5.0, ge=0, description="Weight of the highlighting loss (the authors: 5).")
    extension: float = Field(
        default=0.1, ge=0, description="Share of its length by which the foreground grows on each side."
    )


class LgiSettings(MethodSettings):
    """LGI."""

    phrases: int = Field(default=3, gt=0, description="Phrases of a query (3 on Charades-STA, 5 on ActivityNet).")
    kernel: int = Field(default=15, gt=0, description="Steps that a convolution sees, odd (the paper: 15).")
    global_blocks: int = Field(default=2, gt=0, description="Non-local blocks (2 on Charades-STA, 1 on ActivityNet).")
    phrase_overlap: float = Field(default=0.3, ge=0, description="Lambda of the distinct query attention (0.3, 0.2).")


class MlviSettings(MethodSettings):
    """MLVI."""

    layers: int = Field(default=4, gt=0, description="Convolutions over the steps, at doubling distances.")
    proposals: int = Field(default=100, gt=0, description="Proposals of a query that retrieval ranks.")
    margin: float = Field(default=0.2, gt=0, description="Margin of the ranking loss (the authors: 0.2).")
    caption_weight: float = Field(
        default=0.01, ge=0, description="Weight of captioning beside ranking (what the authors' code trains)."
    )


class TripNetSettings(MethodSettings):
    """TripNet."""

    resizes: bool = Field(
        default=False, description="Whether moves also change the window's length (the paper: never)."
    )
    window: float = Field(
        default=0.27, gt=0.05, le=1, description="Share of the video that the window is long at first."
    )
    rollouts: int = Field(default=8, gt=0, description="Rollouts of each query in a training step.")
    discount: float = Field(default=0.9, ge=0, le=1, description="Of later rewards.")
    step_cost: float = Field(default=0.01, ge=0, description="Taken from the reward of every move.")
    entropy_weight: float = Field(default=0.05, ge=0, description="Weight of the policy's entropy.")
    value_weight: float = Field(default=0.5, ge=0, description="Weight of the error of expected rewards.")


class DrnSettings(MethodSettings):
    """DRN."""

    overlap_from: float = Field(
        default=0.9, ge=0, le=1, description="Temporal IoU above which a span teaches the overlap (the authors: 0.9)."
    )


class TgaSettings(MethodSettings):
    """TGA."""

    coarse: int = Field(
        default=3, gt=0, description="Windows of the longer kind; there are twice as many of the shorter."
    )
    margin: float = Field(default=0.2, ge=0, description="Margin of the ranking loss (the authors' code: 0.2).")


class LoganSettings(MethodSettings):
    """LoGAN."""

    passes: int = Field(default=3, gt=0, description="Messages between the frames of a video.")
    margin: float = Field(default=0.2, ge=0, description="Margin of the ranking loss.")


class ScnSettings(MethodSettings):
    """SCN."""

    layers: int = Field(default=3, gt=0, description="Layers of each stack (the authors: 3).")
    widths: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=[0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0],
        description="Lengths of proposals, shares of the video (the authors: eighths).",
        min_length=1,
    )
    exploration: float = Field(
        default=0.5, ge=0, le=1, description="Chance of a random proposal in the beginning (the authors: 0.5)."
    )
    exploration_steps: int = Field(
        default=2000, gt=0, description="Training steps after which it is 1/e of that (the authors: 2000)."
    )


def _query_blind(method: Method) -> Method:
    """The same network with the query of another sample."""
    title = method.title.removesuffix(" (ours)")
    return replace(
        method,
        name=f"{method.name}_query_blind",
        title=f"Query-blind {title}",
        about=f"{title} with the query of another sample: what the video alone gives away",
        variant_of=method.name,
        lacks="query",
        exchanged="query",
        look=replace(method.look, dash="9 4", mark="cross"),
    )


def _by_block(entries: Sequence[Method]) -> dict[str, Method]:
    """The entries and a query-blind self of each in the order of tables: by block, in a block as they come."""
    blind = [_query_blind(method) for method in entries if not method.exchanged]
    ordered = sorted([*blind, *entries], key=lambda method: BLOCKS.index(method.block))
    return {method.name: method for method in ordered}


_WHOLE = Method(
    name="ci_mha",
    title="CI-MHA",
    paper="Yu et al., SIGIR 2021",
    source="paper",
    about="cross-interaction multi-head attention, the whole of the paper",
    network="vmr.methods.ci_mha:CiMha",
    settings=CiMhaSettings,
    look=Look("#0072b2", "#4aa8e8"),
)
# Neighbours by their years, then the paper's own rows.
METHODS = _by_block(
    (
        replace(
            _WHOLE,
            name="ci_mha_video_blind",
            title="Video-blind CI-MHA",
            about="CI-MHA with the features of another sample: what the query alone gives away",
            variant_of="ci_mha",
            lacks="video",
            exchanged="video",
            look=Look(*_GREY, dash="5 3 1 3", mark="cross"),
        ),
        Method(
            name="ctrl",
            title="CTRL (ours)",
            paper="Gao et al., ICCV 2017",
            source="code",
            about="sliding windows matched with the sentence, with offsets of their boundaries",
            network="vmr.methods.ctrl:Ctrl",
            kind="proposals",
            offsets=True,
            settings=CtrlSettings,
            look=Look("#6a4fb0", "#a58ee0", dash="1 3", mark="diamond"),
        ),
        Method(
            name="mllc",
            title="MLLC (ours)",
            paper="Hendricks et al., EMNLP 2018",
            source="code",
            about="moments scored with the context that suits them best",
            network="vmr.methods.mllc:Mllc",
            kind="proposals",
            settings=MllcSettings,
            negatives=1,
            look=Look("#4d6b8a", "#93b1d0", dash="8 2 2 2", mark="square"),
        ),
        Method(
            name="excl",
            title="ExCL (ours)",
            paper="Ghosh et al., NAACL 2019",
            source="paper",
            about="bi-LSTMs over video and sentence, and one over both for the span",
            network="vmr.methods.excl:Excl",
            look=Look("#d55e00", "#f58338", mark="diamond"),
        ),
        Method(
            name="mlvi",
            title="MLVI (ours)",
            paper="Xu et al., AAAI 2019",
            source="code",
            about="anchors that the sentence guides, then retrieval of proposals that learns to caption",
            network="vmr.methods.mlvi:Mlvi",
            kind="proposals",
            offsets=True,
            settings=MlviSettings,
            stages=(
                Stage("proposals", share=0.5, trained=_MLVI_PROPOSALS),
                Stage("retrieval", share=0.5, trained=("retrieval",), evaluated=_DROPPING),
            ),
            negatives=8,
            look=Look("#a8324a", "#e57f92", dash="4 2 1 2", mark="square"),
        ),
        Method(
            name="man",
            title="MAN (ours)",
            paper="Zhang et al., CVPR 2019",
            source="idea",
            about="a pyramid of candidates that the sentence filters, and a graph between them",
            network="vmr.methods.man:Man",
            kind="proposals",
            offsets=True,
            settings=ManSettings,
            look=Look("#2f7d4f", "#6fc08d", dash="4 2 1 2", mark="diamond"),
        ),
        Method(
            name="tan_2d",
            title="2D-TAN (ours)",
            paper="Zhang et al., AAAI 2020",
            source="code",
            about="a map of candidates by start and end, and convolutions over it",
            network="vmr.methods.tan_2d:Tan2d",
            kind="proposals",
            settings=Tan2dSettings,
            look=Look("#8a5a00", "#c99a3f", dash="11 3 3 3", mark="up"),
        ),
        Method(
            name="tripnet",
            title="TripNet (ours)",
            paper="Hahn et al., BMVC 2020",
            source="idea",
            about="a window that a policy moves over the video until it stops, learnt from rewards",
            network="vmr.methods.tripnet:TripNet",
            kind="reinforcement",
            settings=TripNetSettings,
            one_span=True,
            look=Look("#00808f", "#4fc3d1", dash="8 2 2 2 2 2", mark="plus"),
        ),
        Method(
            name="vslnet",
            title="VSLNet (ours)",
            paper="Zhang et al., ACL 2020",
            source="paper and code",
            about="question answering with the video as its text, and highlighting",
            network="vmr.methods.vslnet:VslNet",
            settings=VslNetSettings,
            look=Look("#b8578f", "#e08fbd", dash="9 3 2 3", mark="down"),
        ),
        Method(
            name="lgi",
            title="LGI (ours)",
            paper="Mun et al., CVPR 2020",
            source="paper and code",
            about="phrases of the query met with the video locally, then globally",
            network="vmr.methods.lgi:Lgi",
            settings=LgiSettings,
            one_span=True,
            look=Look("#3a9ad9", "#8fd0f7", mark="plus"),
        ),
        Method(
            name="drn",
            title="DRN (ours)",
            paper="Zeng et al., CVPR 2020",
            source="code",
            about="spans regressed at every place of a pyramid over the video",
            network="vmr.methods.drn:Drn",
            settings=DrnSettings,
            # The authors: 10 of 50 epochs, then 1/100 and 1/10,000 of the rate; here most of them go to the first.
            stages=(
                Stage("spans", share=0.6, trained=_DRN_SPANS),
                Stage("overlap", share=0.2, rate_factor=0.01, trained=("overlap",), evaluated=_DROPPING),
                Stage("all", share=0.2, rate_factor=0.0001),
            ),
            look=Look("#c2187a", "#f26bb5", dash="6 2", mark="circle"),
        ),
        Method(
            name="tga",
            title="TGA (ours)",
            paper="Mithun et al., CVPR 2019",
            source="code",
            about="windows that the sentence attends to, learnt from pairs without spans",
            network="vmr.methods.tga:Tga",
            settings=TgaSettings,
            supervision="pairs",
            look=Look("#5f7a1f", "#a6c25a", dash="2 2 6 2", mark="square"),
        ),
        Method(
            name="logan",
            title="LoGAN (ours)",
            paper="Tan et al., WACV 2021",
            source="idea",
            about="frames that meet the words and each other in a graph, learnt from pairs without spans",
            network="vmr.methods.logan:Logan",
            settings=LoganSettings,
            supervision="pairs",
            negatives=1,
            look=Look("#9a5b7f", "#d59abb", dash="3 2", mark="circle"),
        ),
        Method(
            name="scn",
            title="SCN (ours)",
            paper="Lin et al., AAAI 2020",
            source="code",
            about="proposals from which a sentence with gaps can be completed, learnt from pairs without spans",
            network="vmr.methods.scn:Scn",
            settings=ScnSettings,
            supervision="pairs",
            within_video=True,
            look=Look("#9a8f00", "#d6cb45", dash="3 2 1 2", mark="up"),
        ),
        replace(
            _WHOLE,
            name="mha",
            title="MHA",
            about="CI-MHA with attention one way only",
            variant_of="ci_mha",
            lacks="cross interaction",
            arguments={"both_ways": False},
            look=Look("#009e73", "#2cc99b", dash="2 3", mark="square"),
        ),
        replace(
            _WHOLE,
            name="ci_mha_wo_ms",
            title="CI-MHA w/o MS",
            about="CI-MHA without the segmentation task",
            variant_of="ci_mha",
            lacks="segmentation task",
            arguments={"segments": False},
            look=Look("#d98e00", "#f0a92b", dash="7 3", mark="up"),
        ),
        _WHOLE,
    )
)

# No network of ours and nothing to train, so a stage of its own (`vmr.zero_shot.predict`).
ZERO_SHOT = Method(
    name="kinetics_zero_shot",
    title="Kinetics zero-shot",
    paper="Carreira and Zisserman, CVPR 2017",
    source="paper",
    about="the actions of Kinetics that a sentence names, where I3D's own classifier sees them; no training",
    network="",
    supervision="none",
    look=Look("#6b5b2a", "#c9b673", dash="12 2", mark="diamond"),
)


def with_rows() -> dict[str, Method]:
    """Everything that has a row, by name, in the order of tables."""
    methods = sorted((ZERO_SHOT, *METHODS.values()), key=lambda method: BLOCKS.index(method.block))
    return {method.name: method for method in methods}


def method_named(name: str) -> Method:
    """The entry of a method.

    Raises:
        ConfigError: there is no such method; names the nearest one.
    """
    if name not in METHODS:
        raise ConfigError(f"there is no method `{name}`{nearest(name, list(METHODS))}")
    return METHODS[name]


def _known(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"there is no method `{name}`{nearest(name, list(METHODS))}")
    return name


MethodName = Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": list(METHODS), "type": "string"})]


def family(name: str, *, blind: bool) -> list[str]:
    """A method and what varies it, in the order of the table; blind ones come last, or are left out."""
    own = [method for method in METHODS.values() if name in (method.name, method.variant_of)]
    own = sorted(own, key=lambda method: method.exchanged is not None)
    return [method.name for method in own if blind or method.exchanged is None]


def title_of(name: str) -> str:
    """A method's name in tables; an unknown one keeps its own."""
    return method.title if (method := with_rows().get(name)) else name


def block_of(name: str) -> str:
    """The block that a method stands in; unknown ones are other systems."""
    return method.block if (method := with_rows().get(name)) else "other systems"


def place_of(name: str) -> int:
    """A method's place in the order of the table; unknown ones come last."""
    names = list(with_rows())
    return names.index(name) if name in names else len(names)


def sections_model() -> type[Section]:
    """The section `methods` of the configuration: one of each method; None where a variant has none of its own."""
    entries: dict[str, Any] = {
        name: (
            (method.settings | None, Field(None, description=f"Where it differs from {method.variant_of}."))
            if method.variant_of
            else (method.settings, Field(method.settings(), description=f"{method.title.removesuffix(' (ours)')}."))
        )
        for name, method in METHODS.items()
    }
    return create_model("MethodSections", __base__=Section, __doc__="Settings that only one method has.", **entries)


if TYPE_CHECKING:
    MethodSections = Section
else:
    MethodSections = sections_model()


def method_settings(name: str, sections: Section) -> MethodSettings:
    """The settings of a method; what its section does not say, a variant takes from the method that it varies.

    A learning rate is a method's alone; a blind method has that of the network that it blinds.

    Args:
        name: of the method.
        sections: of all methods, see `sections_model`.
    """
    method = method_named(name)
    own = getattr(sections, name, None)
    values = own.model_dump(exclude_unset=True) if own else {}
    if method.variant_of:
        above = method_settings(method.variant_of, sections)
        values = above.model_dump(exclude=None if method.exchanged else {"learning_rate"}) | values
    return method.settings.model_validate(values)


def method_digest(name: str) -> str:
    """Digest of what a method is trained by: the code of its network, and its entry less what is only shown."""
    method = METHODS[name]
    shown = {
        *("title", "paper", "source", "about", "look", "kind", "settings", "variant_of", "lacks", "offsets"),
        *("one_span", "within_video"),
    }
    facts = [getattr(method, field.name) for field in fields(Method) if field.name not in shown]
    module = method.network.partition(":")[0]
    spec = None if module.startswith("vmr.") else importlib.util.find_spec(module)
    code = Path(str(spec.origin)).read_text(encoding="utf-8") if spec else code_digest([module])
    return hashlib.sha256(repr([facts, code]).encode()).hexdigest()[:16]


def methods_table() -> str:
    """The table of docs/methods.md; every method has a query-blind self, which needs no line.

    The titles of other systems lead to what they do differently from their papers.
    """
    lines = [["method", "in tables", "paper", "written from", "block", "what it is"], ["---"] * 6]
    for name, own in with_rows().items():
        system, ours, _ = own.title.partition(" (ours)")
        title = f"[{own.title}](#{system.lower()})" if ours else own.title
        if own.exchanged != "query":
            lines.append([f"`{name}`", title, own.paper, own.source, own.block, own.about])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
