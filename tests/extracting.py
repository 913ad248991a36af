"""Extractors around networks that tests make."""

import torch

from vmr.config.feature_sections import ExtractorSettings
from vmr.features.extractors import Extractor
from vmr.features.networks import Network


def extractor_of(network: Network, *, name="i3d", device="cpu", dtype=torch.float32, **settings) -> Extractor:
    """With windows as I3D has them, where settings do not say otherwise."""
    section = ExtractorSettings(**{"weights": "unused.pt", "window": 64, "stride": 8} | settings)
    return Extractor(network, section, name=name, device=torch.device(device), dtype=dtype)
