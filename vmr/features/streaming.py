"""One convolutional pass of I3D over a video of any length, in pieces, in bounded memory.

Every stage of the network keeps the few inputs that its next outputs still need, so a piece costs what its own
frames cost, and cutting a video elsewhere changes nothing but rounding.

Shape legend: B batch, C channels, T frames, H height, W width, D feature dimension.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vmr.features.i3d import FEATURE_DIM, TEMPORAL_STRIDE, InceptionI3d, SameMaxPool3d, Unit3d, pool_space, pool_time


def temporal_reach(stage: nn.Module) -> tuple[int, int, int]:
    """Stride of a stage of I3D along time, and the inputs that output j sees before and behind input j * stride.

    Args:
        stage: a convolution, a pool or an inception module, whose widest branch has a kernel of 3.
    """
    if isinstance(stage, Unit3d):
        kernel, stride = stage.kernel, stage.stride
    elif isinstance(stage, SameMaxPool3d):
        kernel, stride = stage.kernel[0], stage.stride[0]
    else:
        kernel, stride = 3, 1
    before = max(kernel - stride, 0) // 2  # SAME padding of an axis whose length is a multiple of the stride
    return stride, before, kernel - 1 - before


def join_time(parts: list[Tensor]) -> Float[Tensor, "B C T H W"]:
    """Concatenate along time, channels last: as whole frames, which is a plain copy of memory.

    Args:
        parts: tensors that differ in T only, in any memory format.
    """
    frames = torch.cat([part.permute(0, 2, 3, 4, 1) for part in parts], dim=1)
    return frames.permute(0, 4, 1, 2, 3)


class StageStream:
    """A stage of the network fed piece by piece.

    Args:
        stage: a stage of `InceptionI3d.stages`, or several in a row of which only the first reaches over time.
        reach: `temporal_reach` of (the first of) it.
    """

    def __init__(self, stage: nn.Module, *, reach: tuple[int, int, int]) -> None:
        self.stage = stage
        self.stride, self.before, self.behind = reach
        self._held: Tensor | None = None
        self._offset = 0  # position of the first held input
        self._emitted = 0  # outputs given so far

    def state(self) -> tuple[Tensor | None, int, int]:
        """Where the stream is. The tensor in it is never changed."""
        return self._held, self._offset, self._emitted

    def go_back(self, state: tuple[Tensor | None, int, int]) -> None:
        """Forget what was pushed since `state`."""
        self._held, self._offset, self._emitted = state

    def push(self, x: Float[Tensor, "B C T H W"] | None, *, last: bool) -> Float[Tensor, "B K t h w"] | None:
        """Take the next inputs; give the outputs that are complete now, or None.

        Args:
            x: inputs that follow the earlier ones, or None.
            last: no more will come: the end is padded as SAME padding does. All inputs together must then be a
                multiple of the stride, else the padding at the beginning would have been another.
        """
        held = x if self._held is None else self._held if x is None else join_time([self._held, x])
        if held is None:
            return None
        total = self._offset + held.shape[2]
        usable = total - total % self.stride
        assert usable == total or not last, "a stream must end on a multiple of the stride"
        ready = total // self.stride if last else max((usable - 1 - self.behind) // self.stride + 1, 0)
        if ready <= self._emitted:
            self._held = held
            return None
        base = self._offset // self.stride
        out: Tensor = self.stage(held[:, :, : usable - self._offset])[:, :, self._emitted - base : ready - base]
        keep = max(ready * self.stride - self.before, 0)
        keep -= keep % self.stride
        # A clone, since a view would keep the whole piece in memory.
        self._held = held[:, :, keep - self._offset :].clone()
        self._offset, self._emitted = keep, ready
        return out


class StreamingFeatures:
    """Features of all windows of one video from one pass.

    Step k is the mean over the 8 temporal positions that its window covers, weighted as the final average pool
    weighs them. It differs from an exact window's vector only in that the network sees beyond the window's ends
    where the window is padded with zeros.

    Args:
        model: the network, folded or not, in evaluation mode.
        window: frames of a window, a multiple of 8.
        stride: frames between two windows, a multiple of 8.

    Raises:
        ValueError: window or stride is no multiple of 8.
    """

    def __init__(self, model: InceptionI3d, *, window: int, stride: int) -> None:
        if window % TEMPORAL_STRIDE or stride % TEMPORAL_STRIDE:
            raise ValueError(f"window and stride of one pass of I3D are multiples of 8, found {window} and {stride}")
        self.window_positions = window // TEMPORAL_STRIDE
        self.stride_positions = stride // TEMPORAL_STRIDE
        self._stages = [StageStream(stage, reach=temporal_reach(stage)) for stage in model.stages().values()]
        self._positions: Tensor | None = None

    def state(self) -> tuple[Any, ...]:
        """Where the pass is."""
        return [stage.state() for stage in self._stages], self._positions

    def go_back(self, state: tuple[Any, ...]) -> None:
        """Forget what was pushed since `state`."""
        stages, self._positions = state
        for stage, before in zip(self._stages, stages, strict=True):
            stage.go_back(before)

    def push(self, video: Float[Tensor, "1 3 T H W"], *, last: bool) -> Float[Tensor, "n 1024"]:
        """Take the next frames of the padded sequence (a multiple of 8 in all); give the steps that are complete."""
        x: Tensor | None = video
        for stage in self._stages:
            x = stage.push(x, last=last)
        if x is not None:
            new = pool_space(x)
            self._positions = new if self._positions is None else torch.cat([self._positions, new], dim=1)
        held = self._positions
        if held is None or held.shape[1] < self.window_positions:
            return video.new_zeros((0, FEATURE_DIM), dtype=torch.float32)
        steps = (held.shape[1] - self.window_positions) // self.stride_positions + 1
        features = pool_time(held, window_positions=self.window_positions, stride_positions=self.stride_positions)[0]
        self._positions = held[:, steps * self.stride_positions :]
        return features
