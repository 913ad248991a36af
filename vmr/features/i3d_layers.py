"""The layers of Inception-I3D (Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, Figure 3).

Padding is TensorFlow's SAME, as in the network that the published weights were trained with: it depends on the
input's size and puts the odd element behind. Layers take `time`, the elements of padding before and behind the frames;
None: SAME padding along time too.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

BATCH_NORM_EPS = 1e-3  # Sonnet's default, under which the weights were trained; torch's own is 1e-5
Sides = tuple[int, int]


def same_padding(size: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Elements that TensorFlow's SAME padding puts before and behind an axis.

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

    def forward(self, x: Float[Tensor, "B C T H W"], *, time: Sides | None = None) -> Float[Tensor, "B C t h w"]:
        """Pool; each output axis has ceil(size / stride) elements."""
        sides = [
            same_padding(size, kernel=k, stride=s)
            for size, k, s in zip(x.shape[2:], self.kernel, self.stride, strict=True)
        ]
        sides[0] = time or sides[0]
        if not torch.is_grad_enabled():
            return self._axis_by_axis(x, sides)
        if all(before == behind for before, behind in sides):
            return F.max_pool3d(x, self.kernel, self.stride, padding=[before for before, _ in sides])
        if all(before == 0 and behind < s for (before, behind), s in zip(sides, self.stride, strict=True)):
            # A last window that hangs over the edge: no padded copy of the input is needed.
            return F.max_pool3d(x, self.kernel, self.stride, ceil_mode=True)
        flat = [element for before, behind in reversed(sides) for element in (before, behind)]
        return F.max_pool3d(F.pad(x, flat, value=float("-inf")), self.kernel, self.stride)

    def _axis_by_axis(self, x: Float[Tensor, "B C T H W"], sides: list[Sides]) -> Float[Tensor, "B C t h w"]:
        """The same maxima, one axis after the other: a fifth of the time of torch's pool, on the CPU (measured).

        On a card too, where torch's writes down the place of every maximum, in four times the bytes of bfloat16.
        """
        for axis, kernel, stride, (before, behind) in zip((2, 3, 4), self.kernel, self.stride, sides, strict=True):
            size = x.shape[axis]
            outputs = (before + size + behind - kernel) // stride + 1
            if kernel == stride == 1:
                continue
            pooled: Tensor | None = None
            # The tap that every output has comes first: it is where the result is kept.
            for tap in sorted(range(kernel), key=lambda tap: abs(tap - before)):
                first = max(-((tap - before) // stride), 0)  # first output whose tap lies inside
                beyond = (size - 1 - (tap - before)) // stride + 1
                count = min(beyond, outputs) - first
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

    A layer of logits (`final`) has a bias instead of batch norm, and no ReLU.
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

    def forward(self, x: Float[Tensor, "B C T H W"], *, time: Sides | None = None) -> Float[Tensor, "B K t h w"]:
        """Apply the unit; each output axis has ceil(size / stride) elements."""
        sides = [same_padding(size, kernel=self.kernel, stride=self.stride) for size in x.shape[2:]]
        sides[0] = time or sides[0]
        in_pairs = self.stride == 2 and x.shape[1] < 4 and not torch.is_grad_enabled()
        if in_pairs:
            sides[2] = (sides[2][0], sides[2][1] + (x.shape[4] + sum(sides[2])) % 2)
        if any(before != behind for before, behind in sides):
            x = F.pad(x, [element for before, behind in reversed(sides) for element in (before, behind)])
            sides = [(0, 0)] * 3
        conv = self.conv3d
        padding = [before for before, _ in sides]
        if in_pairs and padding[2] == 0:
            x = _conv_in_pairs(x, conv.weight, conv.bias, padding=padding)
        else:
            x = F.conv3d(x, conv.weight, conv.bias, stride=self.stride, padding=padding)
        x = self.bn(x)
        return x if self.final else F.relu(x, inplace=not torch.is_grad_enabled())


def _conv_in_pairs(
    x: Float[Tensor, "B C T H W"], weight: Float[Tensor, "K C k k k"], bias: Tensor | None, *, padding: list[int]
) -> Float[Tensor, "B K t h w"]:
    """A convolution of stride 2 and few channels, two neighbours in a row as one element of twice the channels.

    The same sums. Convolutions of three channels leave a CPU's vector units half empty: this takes an eighth less
    (benchmarks/i3d_variants.py). Channels last, joining neighbours moves nothing. A card's matrix units want multiples
    of 8 channels, so zeros fill them up. Without, cuDNN took a kernel that needed half of the network's time.

    Args:
        padding: zeros on both sides of T, H and W; none of W.
    """
    kernels, channels, taps = weight.shape[:3]
    frames = x.permute(0, 2, 3, 4, 1)
    x = frames.reshape(*frames.shape[:3], -1, 2 * channels).permute(0, 4, 1, 2, 3)
    pairs = F.pad(weight, (0, taps % 2)).reshape(kernels, channels, taps, taps, -1, 2)
    weight = pairs.permute(0, 5, 1, 2, 3, 4).reshape(kernels, 2 * channels, taps, taps, -1)
    if x.device.type == "cuda":
        missing = -x.shape[1] % 8
        x = F.pad(x.permute(0, 2, 3, 4, 1), (0, missing)).permute(0, 4, 1, 2, 3)
        weight = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, missing))
    weight = weight.contiguous(memory_format=torch.channels_last_3d)
    return F.conv3d(x, weight, bias, stride=(2, 2, 1), padding=padding)


class InceptionBlock(nn.Module):
    """The inception module of Figure 3: four branches (channels of b0, b1a, b1b, b2a, b2b and b3b) that are
    concatenated.
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

    def forward(self, x: Float[Tensor, "B C T H W"], *, time: Sides = (1, 1)) -> Float[Tensor, "B K t H W"]:
        """Concatenate the branches' outputs; K is the sum of their channels.

        Args:
            time: zeros before and behind the frames, at most one each; one each is SAME padding.
        """
        before, behind = time
        middle = x[:, :, 1 - before : x.shape[2] - (1 - behind)]
        b1 = self.b1b(self.b1a(x), time=time)
        b2 = self.b2b(self.b2a(x), time=time)
        return torch.cat([self.b0(middle), b1, b2, self.b3b(self.b3a(x, time=time))], dim=1)
