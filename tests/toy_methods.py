"""Methods of the tests: one with proposals, two stages, word ids and a section; and one that learns from pairs."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vmr.methods.entry import Look, Method, MethodSettings, Stage
from vmr.model.batch import Batch, PairTargets, Targets
from vmr.model.encoders import VideoEncoder
from vmr.model.losses import Losses
from vmr.model.masks import at_least_single
from vmr.model.network import MomentNetwork
from vmr.model.prediction import ProposalPrediction
from vmr.model.spans import temporal_iou


@dataclass(frozen=True)
class ToyPrediction(ProposalPrediction):
    """Proposals, and the best score of each query against the video of every query."""

    pairs: Tensor


class Toy(MomentNetwork[ToyPrediction]):
    """Every run of parts of the video is a proposal, scored by the mean of its steps against the mean of the words."""

    def __init__(self, *, video_dim: int, vocabulary: int, hidden: int, bins: int, weak: bool = False) -> None:
        super().__init__()
        self.weak = weak
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=0.0)
        self.words = nn.Embedding(vocabulary, hidden)
        self.refine = nn.Linear(hidden, hidden)
        self.runs = torch.tensor([[i / bins, j / bins] for i in range(bins) for j in range(i + 1, bins + 1)])

    def forward(self, batch: Batch) -> ToyPrediction:
        steps = self.video_encoder(batch.features).index_select(0, batch.video)
        runs = self.runs.to(steps.device)
        middle = (torch.arange(steps.shape[1], device=steps.device) + 0.5) / batch.step_counts[:, None]
        inside = (runs[:, :1] <= middle[:, None]) & (middle[:, None] < runs[:, 1:]) & batch.step_mask[:, None]
        count = inside.sum(dim=2)
        steps = steps.masked_fill(~batch.step_mask[..., None], 0.0)
        pooled = (inside.to(steps.dtype) @ steps) / count.clamp_min(1)[..., None]
        word_mask = batch.word_mask[..., None]
        query = (self.words(batch.tokens) * word_mask).sum(dim=1) / word_mask.sum(dim=1)
        query = query + self.refine(query)
        each = at_least_single(torch.einsum("ih,jmh->ijm", query, pooled.to(query.dtype)))
        own = torch.arange(len(each), device=each.device)
        return ToyPrediction(
            share=runs.expand(len(each), -1, -1),
            score=each[own, own],
            valid_mask=count > 0,
            step_counts=batch.step_counts,
            steps=steps.shape[1],
            pairs=each.masked_fill(count[None] == 0, -torch.inf).amax(dim=2),
        )

    def losses(self, prediction: ToyPrediction, targets: PairTargets) -> Losses:
        if self.weak:
            assert type(targets) is PairTargets  # nothing that could tell spans
            gap = 1.0 - prediction.pairs.diagonal()[:, None] + prediction.pairs.gather(1, targets.negatives)
            pairs = (gap.clamp_min(0.0) * targets.negative_mask).mean()
            return Losses(total=pairs, parts={"pairs": pairs})
        assert isinstance(targets, Targets)
        best = temporal_iou(prediction.share.double(), targets.share.double()[:, None]).argmax(dim=1)
        match = nn.functional.cross_entropy(prediction.score.masked_fill(~prediction.valid_mask, -1e4), best)
        return Losses(total=match, parts={"match": match})


class ToySettings(MethodSettings):
    """Settings of the toy alone."""

    bins: Annotated[int, Field(gt=0, description="Parts of the video.")] = 4


TOY = Method(
    name="toy",
    title="Toy",
    paper="nobody 2026",
    source="idea",
    about="runs of parts",
    network="toy_methods:Toy",
    settings=ToySettings,
    stages=(
        Stage("match", share=0.5, trained=("video_encoder", "words")),
        Stage("refine", share=0.5, rate_factor=0.1, trained=("refine",), evaluated=("video_encoder",)),
    ),
    look=Look("#000000", "#ffffff", dash="1 1", mark="diamond"),
)
WEAK = replace(
    TOY,
    name="weak_toy",
    title="Weak toy",
    about="runs of parts from pairs",
    stages=(Stage(),),
    arguments={"weak": True},
    supervision="pairs",
    negatives=2,
    look=Look("#000000", "#ffffff", dash="2 1", mark="up"),
)
TOYS = {method.name: method for method in (TOY, WEAK)}
