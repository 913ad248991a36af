"""Inception-I3D (Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, Figure 3).

The keys of the state dict are those of the widely used PyTorch port. Padding is TensorFlow's SAME, as in the
network that the published weights were trained with: it depends on the input's size and puts the odd element
behind.

Shape legend: B batch, C channels, T frames, H height, W width, D feature dimension.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FEATURE_DIM = 1024
BATCH_NORM_EPS = 1e-3  # Sonnet's default, under which the weights were trained; torch's own is 1e-5
TEMPORAL_STRIDE = 8
SPATIAL_POOL = 7  # the last average pool is 2x7x7: all of the 7x7 positions of a 224x224 crop

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


def same_padding(size: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Elements that TensorFlow's SAME padding puts before and behind an axis.

    Args:
        size: length of the axis, at least 1.
        kernel: length of the kernel along it.
        stride: step of the kernel along it.

    >>> same_padding(224, kernel=7, stride=2)
    (2, 3)
    >>> same_padding(28, kernel=3, stride=1)
    (1, 1)
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameMaxPool3d(nn.Module):
    """Max pooling with SAME padding; padded elements never win, as in TensorFlow."""

    def __init__(self, *, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C t h w"]:
        """Pool; each output axis has ceil(size / stride) elements."""
        if x.device.type == "cpu" and not torch.is_grad_enabled():
            return self._axis_by_axis(x)
        sides = [
            same_padding(size, kernel=k, stride=s)
            for size, k, s in zip(x.shape[2:], self.kernel, self.stride, strict=True)
        ]
        if all(before == behind for before, behind in sides):
            return F.max_pool3d(x, self.kernel, self.stride, padding=[before for before, _ in sides])
        if all(before == 0 and behind < s for (before, behind), s in zip(sides, self.stride, strict=True)):
            # A last window that hangs over the edge: no padded copy of the input is needed.
            return F.max_pool3d(x, self.kernel, self.stride, ceil_mode=True)
        flat = [element for before, behind in reversed(sides) for element in (before, behind)]
        return F.max_pool3d(F.pad(x, flat, value=float("-inf")), self.kernel, self.stride)

    def _axis_by_axis(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C t h w"]:
        """The same maxima, one axis after the other: a fifth of the time of torch's pool on the CPU (measured)."""
        for axis, kernel, stride in zip((2, 3, 4), self.kernel, self.stride, strict=True):
            size = x.shape[axis]
            before, _ = same_padding(size, kernel=kernel, stride=stride)
            outputs = -(-size // stride)
            if kernel == stride == 1:
                continue
            pooled: Tensor | None = None
            # The tap that every output has comes first: it is where the result is kept.
            for tap in sorted(range(kernel), key=lambda tap: abs(tap - before)):
                first = max(-((tap - before) // stride), 0)  # first output whose tap lies inside
                behind = (size - 1 - (tap - before)) // stride + 1
                count = min(behind, outputs) - first
                if count < 1:
                    continue
                begin = first * stride + tap - before
                taken = x.narrow(axis, begin, (count - 1) * stride + 1)
                taken = taken[(slice(None),) * axis + (slice(None, None, stride),)]
                if pooled is None:
                    pooled = taken.clone()
                else:
                    target = pooled.narrow(axis, first, count)
                    torch.maximum(target, taken, out=target)
            assert pooled is not None
            x = pooled
        return x


class Unit3d(nn.Module):
    """Convolution without bias, batch norm and ReLU; after `fold_batch_norm` a convolution with bias and ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: edge of the cubic kernel.
        stride: step along time, height and width.
        final: a layer of logits: bias instead of batch norm, no ReLU.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int = 1, stride: int = 1, final: bool = False
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.final = final
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride=stride, bias=final)
        self.bn = nn.Identity() if final else nn.BatchNorm3d(out_channels, eps=BATCH_NORM_EPS)

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B K t h w"]:
        """Apply the unit; each output axis has ceil(size / stride) elements."""
        sides = [same_padding(size, kernel=self.kernel, stride=self.stride) for size in x.shape[2:]]
        if any(before != behind for before, behind in sides):
            x = F.pad(x, [element for before, behind in reversed(sides) for element in (before, behind)])
            sides = [(0, 0)] * 3
        conv = self.conv3d
        x = F.conv3d(x, conv.weight, conv.bias, stride=self.stride, padding=[before for before, _ in sides])
        x = self.bn(x)
        return x if self.final else F.relu(x, inplace=not torch.is_grad_enabled())


class InceptionBlock(nn.Module):
    """The inception module of Figure 3: four branches whose channels are concatenated.

    Args:
        in_channels: channels of the input.
        channels: output channels of b0, b1a, b1b, b2a, b2b and b3b.
    """

    def __init__(self, in_channels: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = Unit3d(in_channels, channels[0])
        self.b1a = Unit3d(in_channels, channels[1])
        self.b1b = Unit3d(channels[1], channels[2], kernel=3)
        self.b2a = Unit3d(in_channels, channels[3])
        self.b2b = Unit3d(channels[3], channels[4], kernel=3)
        self.b3a = SameMaxPool3d(kernel=(3, 3, 3), stride=(1, 1, 1))
        self.b3b = Unit3d(in_channels, channels[5])

    def forward(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B K T H W"]:
        """Concatenate the branches' outputs; K is the sum of their channels."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class InceptionI3d(nn.Module):
    """Inception-I3D for RGB clips.

    Args:
        num_classes: classes of the layer of logits (400 for Kinetics-400).
    """

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
        """Feature vector of each clip: the mean over the outputs of the final average pool, 2x7x7 with stride 1.

        Args:
            video: RGB in [-1, 1]; 224x224 and 64 frames in the published setting, at least 9 frames.

        Returns:
            One vector a clip. A crop other than 224 is averaged over all its positions.
        """
        return pool_time(pool_space(self.trunk(video)), window_positions=-(-video.shape[2] // TEMPORAL_STRIDE))[:, 0]

    def classify(self, features: Float[Tensor, "B 1024"]) -> Float[Tensor, "B K"]:
        """Logits of the classes. The network averages logits over time; being linear, it may average before."""
        logits: Tensor = self.logits(features[:, :, None, None, None])
        return logits[:, :, 0, 0, 0]


def pool_space(maps: Float[Tensor, "B D t h w"]) -> Float[Tensor, "B t D"]:
    """Mean over all spatial positions in float32: the spatial part of the final average pool."""
    return maps.float().mean(dim=(3, 4)).transpose(1, 2)


def pool_time(
    positions: Float[Tensor, "B t D"], *, window_positions: int, stride_positions: int = 1
) -> Float[Tensor, "B N D"]:
    """Features of the windows that lie in a row of temporal positions.

    The mean over the pairs that the final pool averages is a weighted mean of the positions: 1, 2, ..., 2, 1,
    which is 1,2,2,2,2,2,2,1 / 14 for the 8 positions of 64 frames.

    Args:
        positions: outputs of `pool_space`, one for 8 frames.
        window_positions: positions of a window, at least 2.
        stride_positions: positions between the beginnings of two windows.

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
    return windows @ (weights / weights.sum())


@torch.no_grad()
def fold_batch_norm(model: InceptionI3d) -> InceptionI3d:
    """Fold every batch norm into the convolution before it, in place: the same function in fewer passes.

    Args:
        model: a network with its final weights, in float32. It is put into evaluation mode.

    Returns:
        The same object; its keys are no longer those of the port.
    """
    model.eval()
    for unit in model.modules():
        if isinstance(unit, Unit3d) and isinstance(unit.bn, nn.BatchNorm3d):
            unit.conv3d = nn.utils.fuse_conv_bn_eval(unit.conv3d, unit.bn)
            unit.bn = nn.Identity()
    return model
