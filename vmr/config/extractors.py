"""The extractors: whatever lists them takes them from here. A new one is an entry, and a file with its network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal


@dataclass(frozen=True)
class ExtractorEntry:
    """One extractor."""

    about: str  # what its section in the configuration is called
    # code that it alone runs. The first has `prepared(name, path, mean_path)`, which gives its network.
    modules: tuple[str, ...]
    defaults: Mapping[str, Any]  # settings that differ between extractors


EXTRACTORS = {
    "i3d": ExtractorEntry(
        "I3D, pre-trained on Kinetics-400.",
        ("vmr.features.i3d", "vmr.features.i3d_layers"),
        {"weights": "i3d_kinetics400_rgb", "window": 64, "stride": 8},
    ),
    "c3d": ExtractorEntry(
        "C3D, pre-trained on Sports-1M.",
        ("vmr.features.c3d",),
        {"weights": "c3d_sports1m", "window": 16, "stride": 16, "pca_components": 500},
    ),
    "i3d_r50": ExtractorEntry(
        "pytorchvideo's I3D of a ResNet-50.",
        ("vmr.features.backbones",),
        {"weights": "data/weights/I3D_8x8_R50.pyth", "window": 64, "stride": 8},
    ),
    "slow_r50": ExtractorEntry(
        "pytorchvideo's Slow of a ResNet-50.",
        ("vmr.features.backbones",),
        {"weights": "data/weights/SLOW_8x8_R50.pyth", "window": 64, "stride": 8},
    ),
}

if TYPE_CHECKING:
    ExtractorName = str
else:
    ExtractorName = Literal[tuple(EXTRACTORS)]
