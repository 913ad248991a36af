"""The stages of I3D fed piece by piece: each keeps the few inputs that its next outputs still need.

Where an input is repeated, a stage computes the one output that sees nothing else once.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vmr.features.i3d_layers import SameMaxPool3d, Unit3d

# Fewer repeated outputs than these are computed again and again, which costs less than one more call of a stage.
_WORTH_SKIPPING = 4


@dataclass(frozen=True)
class Still:
    """A frame, or the outputs at one temporal position (B, C, 1, H, W), that stands there `count` times."""

    frame: Tensor
    count: int

    def all(self, count: int | None = None) -> Float[Tensor, "B C T H W"]:
        """So many copies, or all, as a view."""
        return self.frame.expand(-1, -1, self.count if count is None else count, -1, -1)


Segments = list[Tensor | Still]


def temporal_reach(stage: nn.Module) -> tuple[int, int, int]:
    """Stride of a stage of I3D along time, and the inputs that output j sees before and behind input j * stride.

    Of an inception module the widest branch counts, which has a kernel of 3.
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
    """Concatenate along time, channels last: as whole frames, which is a plain copy of memory."""
    frames = torch.cat([part.permute(0, 2, 3, 4, 1) for part in parts], dim=1)
    return frames.permute(0, 4, 1, 2, 3)


def still_ends(video: Float[Tensor, "B C T H W"]) -> Segments:
    """A piece with the frames that are repeated at its beginning and its end taken together.

    On a card it is left as it is: looking would make the card wait.
    """
    frames = video.shape[2]
    if video.device.type != "cpu":
        return [video]

    def alike(numbers: range) -> int:
        mark = video[:, :, numbers[0]]
        return next((n for n, number in enumerate(numbers) if not torch.equal(video[:, :, number], mark)), frames)

    front = alike(range(frames))
    back = alike(range(frames - 1, -1, -1)) if front < frames else 0
    front, back = (count if count > _WORTH_SKIPPING else 0 for count in (front, back))
    parts: Segments = [Still(video[:, :, :1], front)] if front else []
    if front + back < frames:
        parts.append(video[:, :, front : frames - back])
    return [*parts, Still(video[:, :, -1:], back)] if back else parts


class StageGroup(nn.Module):
    """Stages in a row of which only the first reaches over time."""

    def __init__(self, *stages: nn.Module) -> None:
        super().__init__()
        self.first, self.others = stages[0], nn.Sequential(*stages[1:])

    def forward(self, x: Float[Tensor, "B C T H W"], *, time: tuple[int, int] | None = None) -> Tensor:
        """Outputs of the frames; `time` as `vmr.features.i3d.Unit3d` takes it."""
        out: Tensor = self.others(self.first(x) if time is None else self.first(x, time=time))
        return out


class StageStream:
    """A stage of `InceptionI3d.stages`, or a group of them, fed piece by piece; every output is computed once. It is
    told how many elements of padding stand before and behind the frames.
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
        return self._push([] if x is None else [x], last=last)

    def push_segments(self, segments: Segments, *, last: bool) -> Segments:
        """The same for inputs of which some are repeated."""
        out: Segments = []
        waiting: list[Tensor] = []
        for segment in segments:
            if not isinstance(segment, Still):
                waiting.append(segment)
                continue
            begin = self._total() + sum(x.shape[2] for x in waiting)
            # The first and the last output that see nothing but this frame.
            first = -(-(begin + self.before) // self.stride)
            skipped = (begin + segment.count - 1 - self.behind) // self.stride - first
            if skipped < _WORTH_SKIPPING:
                waiting.append(segment.all())
                continue
            needed = first * self.stride + self.behind + 1 - begin
            outputs = self._push([*waiting, segment.all(needed)], last=False)
            assert outputs is not None
            if outputs.shape[2] > 1:
                out.append(outputs[:, :, :-1])
            out.append(Still(outputs[:, :, -1:], skipped + 1))
            # What is held now is this frame only, and would be so again that much later.
            self._offset += skipped * self.stride
            self._emitted += skipped
            left = segment.count - needed - skipped * self.stride
            waiting = [segment.all(left)] if left else []
        if waiting or last:
            outputs = self._push(waiting, last=last)
            out += [] if outputs is None else [outputs]
        return out

    def _total(self) -> int:
        """Inputs so far."""
        return self._offset + (0 if self._held is None else self._held.shape[2])

    def _push(self, parts: list[Tensor], *, last: bool) -> Tensor | None:
        if self._held is not None:
            parts = [self._held, *parts]
        if not parts:
            return None
        held = parts[0] if len(parts) == 1 else join_time(parts)
        total = self._offset + held.shape[2]
        assert not last or total % self.stride == 0, "a stream must end on a multiple of the stride"
        ready = total // self.stride if last else max((total - 1 - self.behind) // self.stride + 1, 0)
        if ready <= self._emitted:
            self._held = held
            return None
        first, stop = self._emitted * self.stride - self.before, (ready - 1) * self.stride + self.behind + 1
        begin, end = max(first, 0), min(stop, total)
        seen = held[:, :, begin - self._offset : end - self._offset]
        out: Tensor = self.stage(seen, time=(begin - first, stop - end))
        keep = max(ready * self.stride - self.before, 0)
        # A clone, since a view would keep the whole piece in memory.
        self._held = held[:, :, keep - self._offset :].clone()
        self._offset, self._emitted = keep, ready
        return out
