"""Networks of extractors, each with what belongs in front of it."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vmr.config.extractors import EXTRACTORS, ExtractorName
from vmr.storage.files import sha256_file


@dataclass(frozen=True)
class Network:
    """A network with what belongs in front of it."""

    module: nn.Module  # clips of floats (B, 3, T, H, W) -> features (B, D)
    normalise: nn.Module  # clips of bytes (B, 3, T, H, W) RGB -> floats
    dim: int
    short_side: int | None  # shorter edge of the resized frames, or None
    size: tuple[int, int] | None  # height and width of the resized frames, or None
    crop: int
    description: dict[str, Any]  # what a reader of the features should know, for the provenance


def build_network(name: ExtractorName, path: Path, *, mean_path: Path | None = None) -> Network:
    """A network with its weights, their digest and origin in its description; C3D may have a mean clip.

    Raises:
        FeatureError: weights are missing or belong to another network.
    """
    module = importlib.import_module(EXTRACTORS[name].modules[0])
    network: Network
    network, metadata = module.prepared(name, path, mean_path=mean_path)
    network.description["weights"] = {
        "sha256": sha256_file(path),
        "file": path.name,
        "origin": metadata.get("source", metadata.get("name", "given by the user")),
    }
    return network
