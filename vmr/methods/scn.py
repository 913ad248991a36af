"""SCN (Lin et al., AAAI 2020): proposals from which a sentence with gaps can be completed, learnt from pairs.

Shapes: B queries of a batch, U different videos of them, N steps, L words, M proposals, K chosen ones, S sampled steps,
H width, W words of the vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.methods.scn_layers import Stack, choose, ending_shares, rank_loss, rank_rewards
from vmr.model.batch import Batch, PairTargets
from vmr.model.encoders import VideoEncoder, WordVectors, sinusoids
from vmr.model.losses import Losses
from vmr.model.masks import at_least_single, valid_mask
from vmr.model.network import MomentNetwork
from vmr.model.prediction import ProposalPrediction

_CHOSEN = 3
_SAMPLES = 16
_SMOOTHING = 0.1


@dataclass(frozen=True)
class ScnPrediction(ProposalPrediction):
    """Proposals that end at each step, and how well the sentence follows from some of them."""

    # probabilities of the chosen proposals; None where only spans are asked for
    chosen_score: Float[Tensor, "B K"] | None
    chosen_mask: Bool[Tensor, "B K"] | None  # True where there was a proposal to choose, and a known word to complete
    nll: Float[Tensor, "B K"] | None  # mean negative log-likelihood of the words after each chosen proposal


class Scn(MomentNetwork[ScnPrediction]):
    """SCN, semantic completion: no span is seen in training.

    Not in the paper: features are standardised; steps stay as they are (the authors: 200 means); words are masked with
    equal chance (the authors: nouns, verbs, adjectives and adverbs more often), in evaluation every third; the chance
    of a random proposal falls with every step, not once an epoch; the rate has no warm-up. A step takes the time of two
    to three of CI-MHA's, since a sentence is completed three times.

    Args:
        hidden: width (the authors: 256).
        heads: of every attention (the authors: 4).
        dropout: of the standardised features and in the stacks (the authors: 0.1).
    """

    trained_steps: Tensor

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        vocabulary: int,
        hidden: int,
        heads: int,
        dropout: float,
        layers: int,
        widths: Sequence[float],
        exploration: float,
        exploration_steps: int,
    ) -> None:
        super().__init__()
        self.widths, self.exploration, self.exploration_steps = tuple(widths), exploration, exploration_steps
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.word_vectors = WordVectors(word_dim)
        self.word_projection = nn.Linear(word_dim, hidden)
        self.begin = nn.Parameter(0.1 * torch.randn(hidden))
        self.gap = nn.Parameter(0.1 * torch.randn(word_dim))
        self.step_stack, self.word_stack = (
            Stack(hidden, heads=heads, layers=layers, dropout=dropout) for _ in range(2)
        )
        self.width_scores = nn.Linear(hidden, len(self.widths))
        self.vocabulary = nn.Linear(hidden, vocabulary)
        self.register_buffer("trained_steps", torch.zeros(()))

    def forward(self, batch: Batch) -> ScnPrediction:
        """The proposals of each query's video, and what completing the sentence from the best ones costs."""
        steps = self.video_encoder(batch.features)
        own = steps.index_select(0, batch.video)
        words = self.word_vectors.embed(batch.words, batch.unknown_mask)
        query = self.word_stack(self._sentence(words))
        query_mask = torch.cat([batch.word_mask[:, :1], batch.word_mask], dim=1)
        # Both stacks look back only, so that nothing after the end is seen.
        score = at_least_single(self.width_scores(self.step_stack(own, query, query_mask))).flatten(1)
        share, valid = self.candidates(batch.step_counts.to(score.device), own.shape[1])
        share = share.to(score.dtype)
        found = ScnPrediction.of(
            batch, share=share, score=score, valid_mask=valid, chosen_score=None, chosen_mask=None, nll=None
        )
        if batch.spans_only:
            return found
        chosen, real = choose(score, share, valid, count=_CHOSEN, random=self._random(score))
        spans = share.gather(1, chosen[..., None].expand(-1, -1, 2))
        nll, known = self._completed(batch, own, words, spans)
        return replace(
            found, chosen_score=score.gather(1, chosen).sigmoid(), chosen_mask=real & known[:, None], nll=nll
        )

    def candidates(
        self, step_counts: Int[Tensor, "B"], steps: int
    ) -> tuple[Float[Tensor, "B M 2"], Bool[Tensor, "B M"]]:
        """The proposals; those that begin before the video or end after it do not count."""
        share = ending_shares(step_counts, steps, self.widths)
        inside = valid_mask(step_counts, steps).repeat_interleave(len(self.widths), dim=1)
        return share, (share[..., 0] > -1e-6) & inside

    def losses(self, prediction: ScnPrediction, targets: PairTargets) -> Losses:
        """`words`: the negative log-likelihood of the words, mean over chosen proposals; `rank`: of the scores."""
        mask = prediction.chosen_mask
        assert prediction.nll is not None and prediction.chosen_score is not None and mask is not None
        some = mask.any(dim=1)
        words = (prediction.nll * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
        rewards = rank_rewards(prediction.nll.detach().masked_fill(~mask, math.inf))
        # Queries without a known word or a second proposal teach nothing about ranks.
        counted = mask | ~some[:, None]
        rank = torch.where(some, rank_loss(prediction.chosen_score, rewards, counted), 0.0)
        return Losses(total=words.mean() + rank.mean(), parts={"words": words.mean(), "rank": rank.mean()})

    def training_loss(self, batch: Batch, targets: PairTargets, *, stage: str) -> Losses:
        """The losses; counts the step, as which chance depends on it."""
        found = super().training_loss(batch, targets, stage=stage)
        self.trained_steps += 1
        return found

    def _sentence(self, words: Float[Tensor, "B L E"]) -> Float[Tensor, "B T H"]:
        """The begin and the words, with their places."""
        projected = self.word_projection(words)
        begin = self.begin.to(projected.dtype).expand(len(words), 1, -1)
        both = torch.cat([begin, projected], dim=1)
        return both + sinusoids(both.shape[1], both.shape[2], device=both.device).to(both.dtype)

    def _random(self, score: Float[Tensor, "B M"]) -> Float[Tensor, "K B M"] | None:
        """Numbers to choose by in training, minus infinity where the best is to be taken; None in evaluation."""
        if not self.training:
            return None
        chance = self.exploration * torch.exp(-self.trained_steps / self.exploration_steps)
        drawn = torch.rand(_CHOSEN, len(score), 1, device=score.device) < chance
        return torch.rand(_CHOSEN, *score.shape, device=score.device).masked_fill(~drawn, -math.inf)

    def _gaps(self, batch: Batch) -> Bool[Tensor, "B L"]:
        """True at a third of the words: by chance in training, every third in evaluation."""
        place = torch.arange(batch.words.shape[1], device=batch.words.device)
        if not self.training:
            return (place % 3 == 2) & batch.word_mask
        order = torch.rand(batch.words.shape[:2], device=batch.words.device).masked_fill(~batch.word_mask, math.inf)
        counts = batch.word_counts.to(order.device)[:, None]
        return order.argsort(dim=1).argsort(dim=1) < counts // 3

    def _completed(
        self,
        batch: Batch,
        steps: Float[Tensor, "B N H"],
        words: Float[Tensor, "B L E"],
        spans: Float[Tensor, "B K 2"],
    ) -> tuple[Float[Tensor, "B K"], Bool[Tensor, "B"]]:
        """Negative log-likelihood of the words of each query, mean over known ones; and whether there are any."""
        counts = batch.step_counts.to(steps.device)[:, None, None]
        place = (torch.arange(_SAMPLES, device=steps.device) + 0.5) / _SAMPLES
        shares = spans[..., :1] + place * (spans[..., 1:] - spans[..., :1])
        sampled = (shares * counts).floor().long().clamp_min(0).minimum(counts - 1).flatten(1)
        memory = steps.gather(1, sampled[..., None].expand(-1, -1, steps.shape[2]))
        memory = self.step_stack(memory.reshape(-1, _SAMPLES, memory.shape[2]))
        gapped = torch.where(self._gaps(batch)[..., None], self.gap.to(words.dtype), words)
        sentence = self._sentence(gapped)[:, :-1].repeat_interleave(_CHOSEN, dim=0)
        states = self.word_stack(sentence, memory)
        wanted = batch.tokens.repeat_interleave(_CHOSEN, dim=0)
        logits = at_least_single(self.vocabulary(states))
        each = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), label_smoothing=_SMOOTHING, reduction="none")
        known = (wanted > 0) & batch.word_mask.repeat_interleave(_CHOSEN, dim=0)
        nll = torch.where(known, each.view(known.shape), 0.0).sum(dim=1) / known.sum(dim=1).clamp_min(1)
        return nll.view(-1, _CHOSEN), (known.any(dim=1).view(-1, _CHOSEN)[:, 0])
