"""2D-TAN (Zhang et al., AAAI 2020): a map of candidates, start by end, over which convolutions compare neighbours.

Shapes: B queries of a batch, U different videos of them, N steps, T clips of the grid, M candidates, H width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.model.batch import Batch, Targets
from vmr.model.encoders import QueryEncoder, VideoEncoder, last_states, rectified
from vmr.model.grid import pooled
from vmr.model.losses import Losses
from vmr.model.masks import at_least_single
from vmr.model.network import GridNetwork
from vmr.model.prediction import ProposalPrediction
from vmr.model.spans import temporal_iou

# Candidates of up to so many clips are all there; longer ones lie on strides that double with each doubling.
_DENSE = 16


class Tan2d(GridNetwork[ProposalPrediction]):
    """2D temporal adjacent networks, with max pooling for the features of candidates.

    Not in the paper: features are standardised instead of brought to length 1, the LSTM reads both ways, every
    convolution keeps the size of the map, where the authors' first one adds the borders of all. Their code
    divides each result by the number of valid cells under the kernel, which shrinks it 25-fold a layer; here it is
    divided by the share of them, and weights begin so that numbers keep their size (He).

    The convolutions are the method: at the paper's size one training step takes many times that of CI-MHA.

    Args:
        hidden: width of candidates and map (the paper: 512).
        lstm_dropout: between the sentence's LSTMs and after them.

    Raises:
        ValueError: `kernel` is even.
    """

    cells: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        hidden: int,
        query_hidden: int,
        dropout: float,
        lstm_dropout: float,
        clips: int,
        kernel: int,
        layers: int,
        query_layers: int,
        lowest_iou: float,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; expected an odd number, so that as many cells come out as go in")
        self.clips, self.lowest_iou = clips, lowest_iou
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout, layers=query_layers)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.of_sentence = nn.Linear(2 * query_hidden, hidden)
        self.of_candidates = nn.Linear(hidden, hidden)
        self.convolutions = nn.ModuleList(
            rectified(nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2)) for _ in range(layers)
        )
        self.score = nn.Linear(hidden, 1)
        runs = candidates(clips)
        mask = torch.zeros(clips, clips, dtype=torch.float64)
        for first, last in runs:
            mask[first, last] = 1.0
        area = F.conv2d(mask[None, None], mask.new_ones(1, 1, kernel, kernel), padding=kernel // 2)[0, 0]
        buffers = {
            "shares": torch.tensor([[first, last + 1] for first, last in runs], dtype=torch.float64) / clips,
            "cells": torch.tensor([first * clips + last for first, last in runs]),
            # 0 where no candidate is; elsewhere one over the share of candidates among the cells under the kernel.
            "scale": mask * kernel**2 / area.clamp_min(1.0),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, batch: Batch) -> ProposalPrediction:
        """A score for every candidate."""
        encoded = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        sentence = self.of_sentence(last_states(encoded, batch.word_counts))
        steps = torch.relu(self.video_encoder(batch.features))
        clips = pooled(steps, batch.video_step_counts, self.clips, "mean")
        found = self.of_candidates(pooled_candidates(clips)).index_select(0, batch.video)
        fused = F.normalize(found * sentence[:, None], dim=2)
        context = self._context(fused)
        score = at_least_single(self.score(context).squeeze(-1))
        return ProposalPrediction.of(batch, share=self.shares, score=score)

    def _context(self, fused: Float[Tensor, "B M H"]) -> Float[Tensor, "B M H"]:
        """Candidates that know their neighbours in the map; cells that are none stay zeros."""
        size = self.clips
        x = fused.new_zeros(len(fused), size * size, fused.shape[2]).index_copy(1, self.cells, fused)
        x = x.transpose(1, 2).reshape(len(x), -1, size, size)
        scale = self.scale.to(x.dtype)
        for convolution in self.convolutions:
            x = torch.relu(convolution(x)) * scale
        return x.flatten(2).index_select(2, self.cells).transpose(1, 2)

    def losses(self, prediction: ProposalPrediction, targets: Targets) -> Losses:
        """`match`: binary cross entropy of each score against the IoU, stretched from `lowest_iou` and 1 to 0 and 1."""
        iou = temporal_iou(prediction.share, targets.share.to(prediction.share.dtype)[:, None])
        wanted = ((iou - self.lowest_iou) / (1.0 - self.lowest_iou)).clamp(0.0, 1.0)
        match = F.binary_cross_entropy_with_logits(prediction.score, wanted)
        return Losses(total=match, parts={"match": match})


def candidates(clips: int) -> list[tuple[int, int]]:
    """First and last clip of each candidate, by length and then by start.

    Up to 16 clips all of them; up to 32 those whose start and length are even, up to 64 by fours, and so on.

    >>> len(candidates(16)), len(candidates(64))
    (136, 1104)
    """
    found = []
    for length in range(1, clips + 1):
        stride = 1
        while length > _DENSE * stride:
            stride *= 2
        if length % stride == 0:
            found += [(first, first + length - 1) for first in range(0, clips - length + 1, stride)]
    return found


def pooled_candidates(clips: Float[Tensor, "U T H"]) -> Float[Tensor, "U M H"]:
    """The maximum over the clips of each candidate, in the order of `candidates`."""
    size = clips.shape[1]
    kept: dict[int, list[int]] = {}
    for first, last in candidates(size):
        kept.setdefault(last - first, []).append(first)
    longest, found = clips, []
    for longer in range(size):
        if longer:
            longest = torch.maximum(longest[:, :-1], clips[:, longer:])
        if firsts := kept.get(longer):
            stride = firsts[1] - firsts[0] if len(firsts) > 1 else 1
            found.append(longest[:, ::stride] if stride > 1 else longest[:, : len(firsts)])
    return torch.cat(found, dim=1)
