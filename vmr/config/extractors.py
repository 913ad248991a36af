"""The extractors: whatever lists them takes them from here. A new one is an entry, and a file with its network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class ExtractorEntry:
    """One extractor."""

    about: str  # what its section in the configuration is called
    # code that it alone runs. The first has `prepared(name, path, mean_path)`, which gives its network.
    modules: tuple[str, ...]


EXTRACTORS = {
    "i3d": ExtractorEntry("I3D, pre-trained on Kinetics-400.", ("vmr.features.i3d", "vmr.features.i3d_layers")),
    "c3d": ExtractorEntry("C3D, pre-trained on Sports-1M.", ("vmr.features.c3d",)),
    "i3d_r50": ExtractorEntry("pytorchvideo's I3D of a ResNet-50.", ("vmr.features.backbones",)),
    "slow_r50": ExtractorEntry("pytorchvideo's Slow of a ResNet-50.", ("vmr.features.backbones",)),
}

if TYPE_CHECKING:
    ExtractorName = str
else:
    ExtractorName = Literal[tuple(EXTRACTORS)]
