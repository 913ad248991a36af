"""The networks behind the extractors, each with what belongs in front of it.

Shape legend: B batch, T frames, H height, W width, D feature dimension.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vmr.assets.torch_weights import c3d_key, plain_key
from vmr.features import backbones, c3d, i3d, weights
from vmr.storage.files import sha256_file

EXTRACTORS = ("i3d", "c3d", "i3d_r50", "slow_r50")


@dataclass(frozen=True)
class Network:
    """A network with what belongs in front of it.

    Attributes:
        module: clips of floats (B, 3, T, H, W) -> features (B, D).
        normalise: clips of bytes (B, 3, T, H, W) RGB -> floats.
        dim: length of the feature vector.
        short_side: shorter edge of the resized frames, or None.
        size: height and width of the resized frames, or None.
        crop: edge of the central crop.
        description: what a reader of the features should know, for the provenance.
    """

    module: nn.Module
    normalise: nn.Module
    dim: int
    short_side: int | None
    size: tuple[int, int] | None
    crop: int
    description: dict[str, Any]


class I3dClips(nn.Module):
    """Bytes to [-1, 1]."""

    def forward(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 3 T H W"]:
        """Normalise; exact up to one rounding in any float type, since n - 127.5 needs 8 bits."""
        dtype = torch.get_autocast_dtype(clips.device.type) if torch.is_autocast_enabled(clips.device.type) else None
        return clips.to(dtype or torch.float32).sub_(127.5).div_(127.5)


def build_network(name: str, path: Path, *, mean_path: Path | None = None) -> Network:
    """A network with its weights, their digest and origin in its description.

    Args:
        name: one of `EXTRACTORS`.
        path: file of weights.
        mean_path: C3D's mean clip, or None for the mean by channel.

    Raises:
        FeatureError: weights are missing or belong to another network.
    """
    network, metadata = _with_weights(name, path, mean_path)
    network.description["weights"] = {
        "sha256": sha256_file(path),
        "file": path.name,
        "origin": metadata.get("source", metadata.get("name", "given by the user")),
    }
    return network


def _with_weights(name: str, path: Path, mean_path: Path | None) -> tuple[Network, dict[str, str]]:
    if name == "i3d":
        model = i3d.InceptionI3d()
        # Its classes are those of whatever it was fine-tuned on: 157 of Charades, 600 of a larger Kinetics.
        metadata = weights.load_into(model, path, rename=plain_key, unused=("logits.",))
        i3d.fold_batch_norm(model)
        about = {
            "resize": "short side 256, bilinear",
            "crop": "centre 224",
            "input": "RGB in [-1, 1]",
            "feature": "mean of the final average pool",
        }
        return Network(model, I3dClips(), i3d.FEATURE_DIM, 256, None, 224, about), metadata
    if name == "c3d":
        network = c3d.C3d()
        metadata = weights.load_into(network, path, rename=c3d_key, unused=("fc7.", "fc8."))
        crop_mean = c3d.load_crop_mean(mean_path) if mean_path else None
        mean = sha256_file(mean_path) if mean_path else f"by channel, BGR {c3d.CHANNEL_MEAN_BGR}"
        about = {
            "resize": "128x171, bilinear",
            "crop": "centre 112",
            "input": "BGR 0..255 minus mean",
            "mean": mean,
            "feature": "fc6 after ReLU",
        }
        clips = c3d.C3dClips(crop_mean=crop_mean)
        return Network(network, clips, c3d.FEATURE_DIM, None, c3d.RESIZED, c3d.CROP, about), metadata
    full = backbones.build_backbone(name)
    metadata = weights.load_into(full, path, unused=(backbones.head_prefix(full),))
    backbone = backbones.Backbone(full)
    about = {
        "resize": "short side 256, bilinear",
        "crop": "centre 256",
        "input": "8 frames of the window, RGB, mean 0.45, deviation 0.225",
        "feature": "mean of the last stage's positions",
    }
    return Network(backbone, backbones.BackboneClips(), backbones.FEATURE_DIM, 256, None, 256, about), metadata
