"""Inception-I3D (Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, Figure 3).

The keys of the state dict are those of the widely used PyTorch port. Its layers are in `vmr.features.i3d_layers`.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vmr.assets.torch_weights import plain_key
from vmr.features import weights
from vmr.features.i3d_layers import InceptionBlock, SameMaxPool3d, Unit3d
from vmr.features.networks import Network

FEATURE_DIM = 1024
TEMPORAL_STRIDE = 8

# Figure 3 (right): output channels of b0, b1a, b1b, b2a, b2b, b3b of each inception module.
_CHANNELS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


class InceptionI3d(nn.Module):
    """Inception-I3D for RGB clips; Kinetics-400 has 400 classes."""

    def __init__(self, *, num_classes: int = 400) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3d(3, 64, kernel=7, stride=2)
        self.MaxPool3d_2a_3x3 = SameMaxPool3d(kernel=(1, 3, 3), stride=(1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3d(64, 64)
        self.Conv3d_2c_3x3 = Unit3d(64, 192, kernel=3)
        self.MaxPool3d_3a_3x3 = SameMaxPool3d(kernel=(1, 3, 3), stride=(1, 2, 2))
        in_channels = 192
        for name, channels in _CHANNELS.items():
            if name == "Mixed_4b":
                self.MaxPool3d_4a_3x3 = SameMaxPool3d(kernel=(3, 3, 3), stride=(2, 2, 2))
            if name == "Mixed_5b":
                self.MaxPool3d_5a_2x2 = SameMaxPool3d(kernel=(2, 2, 2), stride=(2, 2, 2))
            self.add_module(name, InceptionBlock(in_channels, channels))
            in_channels = channels[0] + channels[2] + channels[4] + channels[5]
        self.logits = Unit3d(in_channels, num_classes, final=True)

    def stages(self) -> dict[str, nn.Module]:
        """The layers before the last pool, by name, in the order in which they are applied."""
        return {name: module for name, module in self.named_children() if name != "logits"}

    def trunk(self, video: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 1024 t h w"]:
        """Output of the last inception module; every axis is an eighth (time) or a 32nd (space), rounded up."""
        for stage in self.stages().values():
            video = stage(video)
        return video

    def forward(self, video: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 1024"]:
        """Feature vector of each clip: the mean over the final average pool's outputs, 2x7x7 with stride 1, at a larger
        crop too.

        Args:
            video: RGB in [-1, 1]; 224x224 and 64 frames in the published setting, at least 9 frames.
        """
        return pool_time(pool_space(self.trunk(video)), window_positions=-(-video.shape[2] // TEMPORAL_STRIDE))[:, 0]


def pool_space(maps: Float[Tensor, "B D t h w"]) -> Float[Tensor, "B t D"]:
    """Mean over all spatial positions in float32: the spatial part of the final average pool."""
    return maps.float().mean(dim=(3, 4)).transpose(1, 2)


def pool_time(
    positions: Float[Tensor, "B t D"], *, window_positions: int, stride_positions: int = 1
) -> Float[Tensor, "B N D"]:
    """Features of the windows that lie in a row of temporal positions.

    The final pool averages pairs. Their mean is a mean of the positions with weights 1, 2, ..., 2, 1: for the 8
    positions of 64 frames 1,2,2,2,2,2,2,1 / 14.

    Args:
        window_positions: positions of a window, at least 2.

    Raises:
        ValueError: a window has fewer than 2 positions (9 frames), which the final pool needs.
    """
    if window_positions < 2:
        raise ValueError(
            f"I3D's final pool spans 2 positions: a window needs 9 frames, found {window_positions} position"
        )
    weights = positions.new_full((window_positions,), 2.0)
    weights[0] = weights[-1] = 1.0
    windows = positions.unfold(1, window_positions, stride_positions)
    # Not a matrix product, which autocast would round to bfloat16.
    return (windows * (weights / weights.sum())).sum(-1)


@torch.no_grad()
def fold_batch_norm(model: InceptionI3d) -> InceptionI3d:
    """Fold every batch norm into the convolution before it, in place: the same function in fewer passes.

    The network is put into evaluation mode, and its keys are no longer those of the port.
    """
    model.eval()
    for unit in model.modules():
        if isinstance(unit, Unit3d) and isinstance(unit.bn, nn.BatchNorm3d):
            unit.conv3d = nn.utils.fuse_conv_bn_eval(unit.conv3d, unit.bn)
            unit.bn = nn.Identity()
    return model


class I3dClips(nn.Module):
    """Bytes to [-1, 1]."""

    def forward(self, clips: UInt8[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 3 T H W"]:
        """Normalise; exact up to one rounding in any float type, since n - 127.5 needs 8 bits."""
        dtype = torch.get_autocast_dtype(clips.device.type) if torch.is_autocast_enabled(clips.device.type) else None
        return clips.to(dtype or torch.float32).sub_(127.5).div_(127.5)


def sizes(*, short_side: int, crop: int) -> dict[str, str]:
    """What the provenance says of the pictures."""
    return {"resize": f"short side {short_side}, bilinear", "crop": f"centre {crop}"}


def prepared(_name: str, path: Path, *, mean_path: Path | None) -> tuple[Network, dict[str, str]]:
    """The network with these weights, and what their file says of them."""
    model = InceptionI3d()
    # Its classes are those of whatever it was fine-tuned on: 157 of Charades, 600 of a larger Kinetics.
    metadata = weights.load_into(model, path, rename=plain_key, unused=("logits.",))
    fold_batch_norm(model)
    about = {
        **sizes(short_side=256, crop=224),
        "input": "RGB in [-1, 1]",
        "feature": "mean of the final average pool",
    }
    return Network(model, I3dClips(), FEATURE_DIM, 256, None, 224, about), metadata
