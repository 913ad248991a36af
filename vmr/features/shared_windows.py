"""Exact windows of I3D that share what they have in common.

Windows of 64 frames every 8 overlap by 7/8. Inside, the first layers compute the same for all of them; only near its
two ends does a window differ from its neighbours, since it is padded with zeros there. Most of the operations are up to
Mixed_3c. There the interior is computed once for the video (a stream) and only the ends once for each window; from
there on every window goes through the network by itself.

Of the 32 positions of a window that Mixed_3c gives, 4 + 5 are its own. Further on the own part grows to the whole,
so sharing ends there.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vmr.features.i3d import FEATURE_DIM, InceptionI3d, pool_space, pool_time
from vmr.features.stage_stream import StageGroup, StageStream, join_time, temporal_reach

# Stages that are shared, grouped so that the first of each group alone reaches over time.
_GROUPS = (
    ("Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1"),
    ("Conv3d_2c_3x3", "MaxPool3d_3a_3x3"),
    ("Mixed_3b",),
    ("Mixed_3c",),
)


@dataclass(frozen=True)
class _Level:
    """Geometry of one group within a window, in temporal positions of its input, and outputs of the window's own.

    The inputs 0 to `left_in` give the first `left_out` outputs, those from `right_in` the last `right_out`;
    `own_left` and `own_right` inputs at the ends are the window's own already.
    """

    length: int
    jump: int
    own_left: int
    own_right: int
    left_in: int
    left_out: int
    right_in: int
    right_out: int


def _levels(stages: list[nn.Module], window: int) -> list[_Level]:
    levels: list[_Level] = []
    length, jump, own_left, own_right = window, 1, 0, 0
    for stage in stages:
        stride, before, behind = temporal_reach(stage)
        outputs = length // stride
        left_out = -(-(own_left + before) // stride)
        right_out = outputs - 1 - (length - 1 - own_right - behind) // stride
        left_in = stride * (left_out - 1) + behind + 1
        left_in += -left_in % stride
        right_in = stride * (outputs - right_out) - before
        right_in -= right_in % stride
        levels.append(_Level(length, jump, own_left, own_right, left_in, left_out, right_in, right_out))
        length, jump, own_left, own_right = outputs, jump * stride, left_out, right_out
    levels.append(_Level(length, jump, own_left, own_right, 0, 0, 0, 0))
    return levels


def can_share(*, window: int, stride: int) -> bool:
    """Whether sharing is possible and worth it: windows overlap by half or more and have an interior."""
    # 10 positions of 2 frames at each end of the longest edge that is computed, see `_levels`.
    return window % 8 == 0 and window >= 32 and stride % 2 == 0 and 2 * stride <= window


class SharedWindows:
    """Features of all windows of one video, fed piece by piece. For the stride in frames see `can_share`."""

    def __init__(self, model: InceptionI3d, *, window: int, stride: int) -> None:
        assert can_share(window=window, stride=stride)
        self.window, self.stride = window, stride
        stages = model.stages()
        self._groups = [StageGroup(*(stages.pop(name) for name in names)) for names in _GROUPS]
        self._rest = list(stages.values())
        self._levels = _levels([group.first for group in self._groups], window)
        self._streams = [StageStream(group, reach=temporal_reach(group.first)) for group in self._groups]
        self._held: list[Tensor | None] = [None] * len(self._levels)
        self._offset = [0] * len(self._levels)
        self._frames = 0
        self._done = 0

    def state(self) -> tuple[Any, ...]:
        """Where the pass is."""
        streams = [stream.state() for stream in self._streams]
        return streams, list(self._held), list(self._offset), self._frames, self._done

    def go_back(self, state: tuple[Any, ...]) -> None:
        """Forget what was pushed since `state`."""
        streams, held, offset, self._frames, self._done = state
        self._held, self._offset = list(held), list(offset)
        for stream, before in zip(self._streams, streams, strict=True):
            stream.go_back(before)

    def push(self, video: Float[Tensor, "1 3 T H W"], *, last: bool) -> Float[Tensor, "n 1024"]:
        """Take the next frames of the padded sequence (an even number in all); give the windows that are complete."""
        self._frames += video.shape[2]
        new: Tensor | None = video
        for index in range(len(self._levels)):
            if new is not None:
                held = self._held[index]
                self._held[index] = new if held is None else join_time([held, new])
            if index < len(self._streams):
                new = self._streams[index].push(new, last=last)
        ready = max((self._frames - self.window) // self.stride + 1 - self._done, 0)
        if not ready:
            return video.new_zeros((0, FEATURE_DIM), dtype=torch.float32)
        x = self._assemble(ready)
        for stage in self._rest:
            x = stage(x)
        self._done += ready
        self._drop_old()
        return pool_time(pool_space(x), window_positions=x.shape[2])[:, 0]

    def _assemble(self, ready: int) -> Float[Tensor, "B C T H W"]:
        """Outputs of the last shared stage for the next windows, their own ends around the shared interior."""
        left: list[Tensor] = []
        right: list[Tensor] = []
        for index, (group, level) in enumerate(zip(self._groups, self._levels, strict=False)):
            inner = self._shared(index, ready, level.own_left, level.left_in)
            first = group(join_time([*left, inner]))[:, :, : level.left_out]
            inner = self._shared(index, ready, level.right_in, level.length - level.own_right)
            final = group(join_time([inner, *right]))[:, :, -level.right_out :]
            left, right = [first], [final]
        level = self._levels[-1]
        inner = self._shared(len(self._groups), ready, level.own_left, level.length - level.own_right)
        return join_time([*left, inner, *right])

    def _shared(self, index: int, ready: int, start: int, stop: int) -> Float[Tensor, "B C t H W"]:
        """Positions from `start` to `stop` of each of the next windows, from the stream."""
        held = self._held[index]
        assert held is not None
        step = self.stride // self._levels[index].jump
        begin = self._done * step - self._offset[index] + start
        span = held[0, :, begin : begin + (ready - 1) * step + stop - start]
        return span.unfold(1, stop - start, step).permute(1, 0, 4, 2, 3)

    def _drop_old(self) -> None:
        for index, held in enumerate(self._held):
            assert held is not None
            keep = self._done * (self.stride // self._levels[index].jump)
            # A clone, since a view would keep the whole piece in memory.
            self._held[index] = held[:, :, max(keep - self._offset[index], 0) :].clone()
            self._offset[index] = max(keep, self._offset[index])
