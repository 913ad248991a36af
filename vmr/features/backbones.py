"""pytorchvideo's ResNet-50 backbones as further extractors: `i3d_r50` and `slow_r50` of its model hub."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vmr.features import weights
from vmr.features.networks import Network
from vmr.features.pytorchvideo_calls import resnet50

FEATURE_DIM = 2048
FRAMES = 8  # both were trained on 8 frames, 8 apart
# pytorchvideo's model zoo, "8x8" models: mean and deviation of RGB in [0, 1].
_MEAN = (0.45, 0.45, 0.45)
_STD = (0.225, 0.225, 0.225)


class Backbone(nn.Module):
    """Features of a ResNet of pytorchvideo: the head's pooled activations before its dropout and its classifier."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(model.blocks[:-1])

    def forward(self, clips: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 2048"]:
        """Mean over all positions of the last stage's output, in float32."""
        x = clips
        for block in self.blocks:
            x = block(x)
        return x.float().mean(dim=(2, 3, 4))


class BackboneClips(nn.Module):
    """Pick 8 frames of each window, evenly spread, and normalise them as in pytorchvideo's model zoo."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).reshape(3, 1, 1, 1), persistent=False)

    def forward(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 3 8 H W"]:
        """Frame i of the 8 is the middle one of the window's i-th eighth."""
        window = clips.shape[2]
        picked = [min((2 * i + 1) * window // (2 * FRAMES), window - 1) for i in range(FRAMES)]
        return (clips[:, :, picked].float() / 255 - self.mean) / self.std


def prepared(name: str, path: Path, *, mean_path: Path | None) -> tuple[Network, dict[str, str]]:
    """The network with these weights, and what their file says of them."""
    full: Any = resnet50(name)
    # The last block holds the classifier, which `Backbone` does not apply.
    metadata = weights.load_into(full, path, unused=(f"blocks.{len(full.blocks) - 1}.",))
    about = {
        "resize": "short side 256, bilinear",
        "crop": "centre 256",
        "input": "8 frames of the window, RGB, mean 0.45, deviation 0.225",
        "feature": "mean of the last stage's positions",
    }
    return Network(Backbone(full), BackboneClips(), FEATURE_DIM, 256, None, 256, about), metadata
