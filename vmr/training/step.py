"""One step of training; on a card recorded once for each shape of batches, and played back from then on."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vmr.machine.precision import Precision, autocast
from vmr.model.batch import Batch, PairTargets
from vmr.model.network import MomentNetwork
from vmr.training.inference import readable


class TrainingStep:
    """Forward, backward, clipping and the optimizer on a batch.

    A step starts thousands of small kernels. On a card starting them takes several times as long as computing them, so
    that the second batch of a shape is recorded as a CUDA graph, and later ones replay it
    (benchmarks/training_card.py). Collators round shapes up on a card, so that few different ones come.

    Args:
        optimizer: of the parameters that are trained; on a card one that can be recorded. The others must want no
            gradient: only trained ones enter the norm.
    """

    def __init__(
        self,
        model: MomentNetwork[Any],
        optimizer: torch.optim.Optimizer,
        *,
        gradient_clip: float,
        precision: Precision,
        stage: str,
    ) -> None:
        self.model, self.optimizer, self.stage = model, optimizer, stage
        self.gradient_clip, self.precision = gradient_clip, precision
        self.names: list[str] = []
        self._recorded: dict[tuple[Any, ...], _Recording | None] = {}
        self._pool: Any = None

    def __call__(self, batch: Batch, targets: PairTargets) -> Float[Tensor, "P"]:
        """Train on a batch: the loss, its parts, and the norm of the gradient before it was clipped, as `names` calls
        them.
        """
        if batch.features.device.type != "cuda" or not self.model.recordable:
            return self._step(batch, targets)
        shape = tuple(tensor.shape for tensor in _tensors(batch, targets).values())
        if shape not in self._recorded:
            # The first step of a shape also lets libraries and the optimizer prepare what no recording may hold.
            self._recorded[shape] = None
            return self._step(batch, targets)
        recording = self._recorded[shape]
        if recording is None:
            recording = self._recorded[shape] = _Recording(batch, targets, self._step, self._pool)
            self._pool = recording.graph.pool()
        return recording.replay(batch, targets)

    def _step(self, batch: Batch, targets: PairTargets) -> Float[Tensor, "P"]:
        with autocast(batch.features.device, self.precision):
            objective = self.model.training_loss(readable(batch, self.precision), targets, stage=self.stage)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(objective.total)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.gradient_clip)
        self.optimizer.step()
        self.names = ["loss", *(f"{name}_loss" for name in objective.parts), "gradient_norm"]
        return torch.stack([objective.total, *objective.parts.values(), norm]).detach()


class _Recording:
    """A step on batches of one shape, as a CUDA graph."""

    def __init__(
        self, batch: Batch, targets: PairTargets, step: Callable[[Batch, PairTargets], Tensor], pool: Any
    ) -> None:
        self._held = _tensors(batch, targets)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self._values = step(batch, targets)

    def replay(self, batch: Batch, targets: PairTargets) -> Float[Tensor, "P"]:
        """The step on another batch."""
        for name, tensor in _tensors(batch, targets).items():
            if tensor is not self._held[name]:
                self._held[name].copy_(tensor)
        self.graph.replay()
        values: Tensor = self._values.clone()
        return values


def _tensors(batch: Batch, targets: PairTargets) -> dict[str, Tensor]:
    values = {
        f"{own.__class__.__name__}.{name}": value for own in (batch, targets) for name, value in vars(own).items()
    }
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}
