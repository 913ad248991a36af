"""One convolutional pass of I3D over a video of any length, in pieces, in bounded memory.

Every stage of the network keeps the few inputs that its next outputs need. So a piece costs what its own frames cost,
and other cuts of the video change nothing but rounding. Where a frame is repeated, as it is at both ends of every
video, a stage computes the one output that sees nothing else once.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vmr.features.i3d import FEATURE_DIM, TEMPORAL_STRIDE, InceptionI3d, pool_space, pool_time
from vmr.features.stage_stream import StageStream, Still, still_ends, temporal_reach


class StreamingFeatures:
    """Features of all windows of one video from one pass.

    Step k is the mean over the 8 temporal positions that its window covers, weighted as the final average pool
    weighs them. It differs from an exact window's vector only in that the network sees beyond the window's ends
    where the window is padded with zeros.

    Args:
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
        # Positions still to come that no window covers, where windows are farther apart than they are long.
        self._skipped = 0

    def state(self) -> tuple[Any, ...]:
        """Where the pass is."""
        return [stage.state() for stage in self._stages], self._positions, self._skipped

    def go_back(self, state: tuple[Any, ...]) -> None:
        """Forget what was pushed since `state`."""
        stages, self._positions, self._skipped = state
        for stage, before in zip(self._stages, stages, strict=True):
            stage.go_back(before)

    def push(self, video: Float[Tensor, "1 3 T H W"], *, last: bool) -> Float[Tensor, "n 1024"]:
        """Take the next frames of the padded sequence (a multiple of 8 in all); give the steps that are complete."""
        segments = still_ends(video)
        for stage in self._stages:
            segments = stage.push_segments(segments, last=last)
        for segment in segments:
            positions = segment.all() if isinstance(segment, Still) else segment
            new = pool_space(positions)
            self._positions = new if self._positions is None else torch.cat([self._positions, new], dim=1)
        held = self._positions
        if held is not None and self._skipped:
            dropped = min(self._skipped, held.shape[1])
            held = self._positions = held[:, dropped:]
            self._skipped -= dropped
        if held is None or held.shape[1] < self.window_positions:
            return video.new_zeros((0, FEATURE_DIM), dtype=torch.float32)
        steps = (held.shape[1] - self.window_positions) // self.stride_positions + 1
        features = pool_time(held, window_positions=self.window_positions, stride_positions=self.stride_positions)[0]
        self._positions = held[:, steps * self.stride_positions :]
        self._skipped = max(steps * self.stride_positions - held.shape[1], 0)
        return features
