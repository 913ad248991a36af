"""MLVI, or QSPN (Xu et al., AAAI 2019): proposals that the query guides, then retrieval that also learns to caption.

Shapes: B queries of a batch, U different videos of them, N steps, L words, A anchors, K proposals, R negatives,
E word vector, H width, G gates of an LSTM (4 H), W words of the vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.machine.precision import lstm_precision
from vmr.model.batch import Batch, PairTargets, Targets
from vmr.model.dropout import Dropout
from vmr.model.encoders import QueryEncoder, VideoEncoder, WordVectors, last_states
from vmr.model.grid import interval_means
from vmr.model.losses import Losses, mean_where
from vmr.model.masks import at_least_single, valid_mask
from vmr.model.network import MomentNetwork
from vmr.model.offsets import moved, offsets_between
from vmr.model.prediction import ProposalPrediction
from vmr.model.spans import temporal_iou

_SCALES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # steps that an anchor is long
_LEAST_IOU, _MOST_WRONG_IOU = 0.7, 0.3  # of what is right and of what is wrong, as in the authors' code
_BETA = 1 / 9  # of the smooth L1, the authors' sigma of 3


@dataclass(frozen=True)
class MlviPrediction(ProposalPrediction):
    """The best proposals with their scores, and what the losses need."""

    anchors: Float[Tensor, "B A 2"]  # start and end of each as shares of the video, which they may leave
    anchor_mask: Bool[Tensor, "B A"]  # True at those that are no longer than the video
    match: Float[Tensor, "B A"]  # logits of the anchors
    # shift of the middle by the anchor's length, and logarithm of the length by the anchor's
    offsets: Float[Tensor, "B A 2"]
    clips: Float[Tensor, "B K H"]  # vector of each proposal
    # what each word says to the gates of the LSTM that reads a proposal with a sentence
    word_gates: Float[Tensor, "B L G"]
    word_counts: Int[Tensor, "B"]  # words of each query


class Mlvi(MomentNetwork[MlviPrediction]):
    """Multilevel language and vision integration, in two stages.

    Not in the paper: features are standardised instead of trained, word vectors frozen. The sentence weights the rows
    of the first convolution by a linear layer (reading; the released code leaves the query out). C3D's last layers see
    14 seconds and so the whole moment; features here see 3, so convolutions follow at distances of 1, 2, 4, 8 steps.
    All anchors count, those that match half and the others half, where the authors draw 32 of either. Wrong pairs
    are `negatives` of the batch, not all of it, and one other proposal of the same video (reading). The hinge is a
    mean, where their code trains the sum; the caption weighs beside it what it weighs there. Proposals rank by both
    parts, see `forward`; the authors rank by the second.

    Args:
        max_steps: most steps of a video; anchors are no longer.
        hidden: width of every layer (the authors: 512).
        lstm_dropout: after LSTMs (the authors: 0.5).
        proposals: how many are ranked, K (reading: 100; the authors take 1,000 of 3,456).
        margin: of the ranking loss, by which both parts of a score are compared, too.
        caption_weight: of captioning beside the mean hinge (the authors: 20 beside the sum of 1,984 hinges).
    """

    scales: Tensor

    def __init__(
        self,
        *,
        video_dim: int,
        word_dim: int,
        vocabulary: int,
        max_steps: int,
        hidden: int,
        query_hidden: int,
        dropout: float,
        lstm_dropout: float,
        layers: int,
        proposals: int,
        margin: float,
        caption_weight: float,
    ) -> None:
        super().__init__()
        self.proposals, self.margin, self.caption_weight = proposals, margin, caption_weight
        scales = [scale for scale in _SCALES if scale <= max_steps]
        self.register_buffer("scales", torch.tensor(scales), persistent=False)
        self.query_encoder = QueryEncoder(word_dim, hidden=query_hidden, dropout=lstm_dropout)
        self.video_encoder = VideoEncoder(video_dim, hidden=hidden, dropout=dropout)
        self.gate = nn.Linear(2 * query_hidden, hidden)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden, hidden, 3, padding=2**layer, dilation=2**layer) for layer in range(layers)
        )
        self.anchor = nn.Linear(hidden, 3 * len(scales))
        self.retrieval = Retrieval(
            video_dim, word_dim, vocabulary=vocabulary, hidden=hidden, dropout=dropout, lstm_dropout=lstm_dropout
        )

    def forward(self, batch: Batch) -> MlviPrediction:
        """The proposals of highest match, ranked by match plus retrieval.

        A score is the logit of the match plus the retrieval's score in margins. Before its stage the latter is 0.
        In training there is no retrieval here: the losses ask for pairs of their own.
        """
        counts = batch.step_counts.to(batch.features.device)
        found = at_least_single(self.anchor(self._guided(batch)).unflatten(2, (-1, 3)).flatten(1, 2))
        anchors, mask = anchor_shares(counts, batch.features.shape[1], self.scales, like=found)
        match, offsets = found[..., 0], found[..., 1:]
        masked = match.detach().masked_fill(~mask, -math.inf)
        best = masked.topk(min(self.proposals, masked.shape[1]), dim=1).indices
        pairs = best[..., None].expand(-1, -1, 2)
        share = moved(anchors.gather(1, pairs), offsets.detach().gather(1, pairs))
        clips = self.retrieval.clips(self.video_encoder.standardised(batch.features), batch, share)
        gates = self.retrieval.word_gates(batch.words, batch.unknown_mask)
        score = match.gather(1, best)
        if not self.training:
            score = score + self.retrieval.score(gates, batch.word_counts, clips)[0] / self.margin
        return MlviPrediction.of(
            batch, share=share, score=score, valid_mask=mask.gather(1, best), anchors=anchors, anchor_mask=mask,
            match=match, offsets=offsets, clips=clips, word_gates=gates, word_counts=batch.word_counts,
        )  # fmt: skip

    def candidates(
        self, step_counts: Int[Tensor, "B"], steps: int
    ) -> tuple[Float[Tensor, "B A 2"], Bool[Tensor, "B A"]]:
        """The anchors before they are moved."""
        return anchor_shares(step_counts, steps, self.scales.to(step_counts.device), like=step_counts.double())

    def _guided(self, batch: Batch) -> Float[Tensor, "B N H"]:
        """Steps that know their neighbours and the query."""
        encoded = self.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        gate = self.gate(last_states(encoded, batch.word_counts))
        x, mask = self.video_encoder(batch.features).transpose(1, 2), batch.video_mask[:, None]
        for layer, convolution in enumerate(self.convolutions):
            x = torch.relu(convolution(x * mask))
            if not layer:
                x, mask = x.index_select(0, batch.video) * gate[..., None], batch.step_mask[:, None]
        result: Tensor = x.transpose(1, 2)
        return result

    def losses(self, prediction: MlviPrediction, targets: Targets) -> Losses:
        """`match` and `offset` of anchors (`anchor_losses`); `retrieval` of proposals and `words` of captions.

        In training the right proposal of a query is drawn of those with an IoU of at least 0.7, and the wrong one of
        its video of those below 0.3; else they are the best and the one of highest match. Where none is at least 0.7,
        the best is right all the same.
        """
        moments = targets.share.to(prediction.share.dtype)[:, None]
        match, offset = anchor_losses(prediction, moments)
        iou = temporal_iou(prediction.share.clamp(0.0, 1.0), moments).masked_fill(~prediction.valid_mask, -1.0)
        right, wrong = iou >= _LEAST_IOU, prediction.valid_mask & (iou < _MOST_WRONG_IOU)
        drawn = torch.rand(2, *iou.shape, device=iou.device, dtype=iou.dtype) if self.training else None
        best = (iou if drawn is None else torch.where(right, 1.0 + drawn[0], iou)).argmax(dim=1)
        value = prediction.score.detach() if drawn is None else drawn[1]
        other = value.masked_fill(~wrong, -math.inf).argmax(dim=1)
        retrieval, words = self._pairs(prediction, targets, best, other, wrong.any(dim=1))
        total = match + offset + retrieval + self.caption_weight * words
        return Losses(total=total, parts={"match": match, "offset": offset, "retrieval": retrieval, "words": words})

    def training_loss(self, batch: Batch, targets: Targets, *, stage: str) -> Losses:
        """All losses; the total has those of the stage alone."""
        found = super().training_loss(batch, targets, stage=stage)
        if stage == "proposals":
            return Losses(total=found.parts["match"] + found.parts["offset"], parts=found.parts)
        own = found.parts["retrieval"] + self.caption_weight * found.parts["words"]
        return Losses(total=own, parts=found.parts)

    def _pairs(
        self,
        prediction: MlviPrediction,
        targets: PairTargets,
        right: Int[Tensor, "B"],
        wrong: Int[Tensor, "B"],
        has_wrong: Bool[Tensor, "B"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean hinge between right and wrong pairs, and the cost of the caption of the right ones.

        A sentence meets its own proposal, a wrong one of its video, and those of its negatives. Of the latter each is
        compared with the right pair of its sentence and with that of its proposal.
        """
        row = torch.arange(len(right), device=right.device)
        own = prediction.clips[row, right]
        clips = torch.cat([torch.stack([own, prediction.clips[row, wrong]], dim=1), own[targets.negatives]], dim=1)
        score, states = self.retrieval.score(prediction.word_gates, prediction.word_counts, clips)
        words = self.retrieval.caption_loss(states, targets.tokens, prediction.word_counts)
        true, others = score[:, :1], score[:, 2:]
        hinges = torch.cat(
            [score[:, 1:2] - true, others - true, others - true.squeeze(1)[targets.negatives]], dim=1
        )  # fmt: skip
        mask = torch.cat([has_wrong[:, None], targets.negative_mask, targets.negative_mask], dim=1).to(score.dtype)
        return ((self.margin + hinges).clamp_min(0.0) * mask).sum() / mask.sum().clamp_min(1.0), words


class Retrieval(nn.Module):
    """How well a sentence goes with a proposal: an LSTM reads it word by word with the proposal beside each."""

    def __init__(
        self, video_dim: int, word_dim: int, *, vocabulary: int, hidden: int, dropout: float, lstm_dropout: float
    ) -> None:
        super().__init__()
        self.dropout, self.lstm_dropout = Dropout(dropout), Dropout(lstm_dropout)
        self.vectors = WordVectors(word_dim)
        self.lstm = nn.LSTM(word_dim, hidden, batch_first=True)
        self.projection = nn.Linear(video_dim, hidden)
        self.of_word = nn.Linear(hidden, 4 * hidden)
        self.of_clip, self.of_state = (nn.Linear(hidden, 4 * hidden, bias=False) for _ in range(2))
        self.inner, self.output = nn.Linear(hidden, 64), nn.Linear(64, 1)
        nn.init.zeros_(self.output.weight)
        self.vocabulary = nn.Linear(hidden, vocabulary)

    def clips(
        self, features: Float[Tensor, "U N D"], batch: Batch, share: Float[Tensor, "B K 2"]
    ) -> Float[Tensor, "B K H"]:
        """A vector of each proposal, the mean of its steps; in single precision at least.

        Args:
            features: standardised.
        """
        steps = self.projection(self.dropout(features)).index_select(0, batch.video)
        inside = torch.stack([share[..., 0].clamp(0.0, 1.0 - 1e-6), share[..., 1].clamp(1e-6, 1.0)], dim=2)
        return at_least_single(interval_means(steps, batch.step_counts, inside))

    def word_gates(self, words: Float[Tensor, "B L E"], unknown_mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L G"]:
        """What the first LSTM's state after each word says to the gates of the second one."""
        vectors, precision = lstm_precision(self.vectors.embed(words, unknown_mask))
        with precision:
            states, _ = self.lstm(vectors)
        return at_least_single(self.of_word(self.lstm_dropout(states)))

    def score(
        self, word_gates: Float[Tensor, "B L G"], word_counts: Int[Tensor, "B"], clips: Float[Tensor, "B K H"]
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B L H"]]:
        """The scores of proposals for sentences, and the state after each word beside the first of the proposals."""
        of_clip = self.of_clip(clips)
        state = memory = torch.zeros_like(clips)
        states: list[Tensor] = []
        last = state
        counts = word_counts.to(clips.device)[:, None, None]
        for word in range(word_gates.shape[1]):
            gates = word_gates[:, word, None] + of_clip + self.of_state(state)
            into, kept, new, out = at_least_single(gates).chunk(4, dim=2)
            memory = kept.sigmoid() * memory + into.sigmoid() * new.tanh()
            state = out.sigmoid() * memory.tanh()
            last = torch.where(word < counts, state, last)
            states.append(state[:, 0])
        found = self.output(self.inner(self.lstm_dropout(last)).sigmoid()).squeeze(2)
        return at_least_single(found), torch.stack(states, dim=1)

    def caption_loss(
        self, states: Float[Tensor, "B L H"], tokens: Int[Tensor, "B L"], word_counts: Int[Tensor, "B"]
    ) -> Float[Tensor, ""]:
        """Negative log-likelihood of every known word but the first, from the state after the one before.

        The mean over the words of each query, then over the queries; 0 for those without such a word.
        """
        wanted = tokens[:, 1:]
        logits = self.vocabulary(self.lstm_dropout(states[:, :-1]))
        known = valid_mask(word_counts.to(tokens.device) - 1, wanted.shape[1]) & (wanted > 0)
        each = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
        return mean_where(each, known)


def anchor_shares(
    step_counts: Int[Tensor, "B"], steps: int, scales: Int[Tensor, "_"], *, like: Tensor
) -> tuple[Float[Tensor, "B A 2"], Bool[Tensor, "B A"]]:
    """Anchors of all scales in the middle of each step, as shares of the video; True at those that count.

    Those count whose step is there and that are no longer than the video. They may begin before it or end after it.

    >>> share, mask = anchor_shares(torch.tensor([10]), 10, torch.tensor([1, 3, 12]), like=torch.zeros(1).double())
    >>> share[0, 3 * 5 + 1].tolist(), mask[0, :3].tolist()
    ([0.4, 0.7], [True, True, False])
    """
    device, counts = step_counts.device, step_counts[:, None, None]
    step = torch.arange(steps, device=device)[:, None]
    mask = ((step < counts) & (scales <= counts)).flatten(1)
    double = torch.stack([2 * step + 1 - scales, 2 * step + 1 + scales], dim=2).flatten(0, 1)
    return double.to(like.dtype) / (2 * counts), mask


def anchor_losses(
    prediction: MlviPrediction, moments: Float[Tensor, "B 1 2"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross entropy of the match, and smooth L1 of the offsets of anchors that match.

    Anchors match with an IoU of at least 0.7, else the best one does, as in Faster R-CNN; below 0.3 they do not. Both
    kinds weigh half, as in the mean over equal draws of them. Offsets are a mean over the anchors that match.
    """
    anchors, mask = prediction.anchors, prediction.anchor_mask
    iou = temporal_iou(anchors, moments).masked_fill(~mask, -1.0)
    best = torch.arange(iou.shape[1], device=iou.device) == iou.argmax(dim=1, keepdim=True)
    right = (iou >= _LEAST_IOU) | best
    wrong = mask & (iou < _MOST_WRONG_IOU) & ~right
    match = (mean_where(F.softplus(-prediction.match), right) + mean_where(F.softplus(prediction.match), wrong)) / 2
    wanted = offsets_between(anchors, moments)
    each = F.smooth_l1_loss(prediction.offsets, wanted, reduction="none", beta=_BETA).sum(dim=2)
    return match, mean_where(each, right)
