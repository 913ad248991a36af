"""What a network gets to see of a batch, and what its training may hold against it.

Shapes: B queries of a batch, U different videos of them, N steps of the longest, L words of the longest query,
D features, E word vector, R negatives.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vmr.model.masks import check_counts, valid_mask


@dataclass(frozen=True)
class Batch:
    """A padded batch. It holds nothing of the moments.

    Raises:
        ValueError: a video without steps, or a query without words.
    """

    # of each different video, on a card then of the first one again, up to B. They are finite; what they hold after a
    # video's last step does not matter.
    features: Float[Tensor, "U N D"]
    video: Int[Tensor, "B"]  # which of them each query is about
    step_counts: Int[Tensor, "B"]  # steps of the video of each query, at least 1
    words: Float[Tensor, "B L E"]  # vectors of the words; zeros for unknown words and after the last word
    unknown_mask: Bool[Tensor, "B L"]  # True where a word is unknown
    word_counts: Int[Tensor, "B"]  # words of each query, at least 1
    tokens: Int[Tensor, "B L"]  # numbers of the words in the vocabulary; 0 for unknown words and after the last word
    spans_only: bool = False  # leave out of the prediction what its `ranked` does not look at

    def __post_init__(self) -> None:
        check_counts(self.step_counts, self.word_counts)

    @property
    def step_mask(self) -> Bool[Tensor, "B N"]:
        """True at the steps of each query's video."""
        return valid_mask(self.step_counts, self.features.shape[1]).to(self.features.device)

    @property
    def video_mask(self) -> Bool[Tensor, "U N"]:
        """True at the steps of each video; of one that no query is about, at the first."""
        step_mask = self.step_mask
        mask = step_mask.new_zeros(len(self.features), step_mask.shape[1])
        mask[:, 0] = True  # a softmax over nothing would be no number
        mask[self.video] = step_mask
        return mask

    @property
    def video_step_counts(self) -> Int[Tensor, "U"]:
        """Steps of each video."""
        return self.video_mask.sum(dim=1)

    @property
    def word_mask(self) -> Bool[Tensor, "B L"]:
        """True at the words of each query."""
        return valid_mask(self.word_counts, self.words.shape[1]).to(self.words.device)


@dataclass(frozen=True)
class PairTargets:
    """What training with pairs of video and sentence may look at: no moment is in it."""

    video: Int[Tensor, "B"]  # the same number for queries about the same video
    step_counts: Int[Tensor, "B"]  # steps of each video
    tokens: Int[Tensor, "B L"]  # numbers of the words in the vocabulary; 0 for unknown words and after the last word
    # for each query others of the batch, about other videos; its own number where there are none
    negatives: Int[Tensor, "B R"]

    @property
    def same_video(self) -> Bool[Tensor, "B B"]:
        """True where two queries are about the same video: they are no negatives of each other."""
        return self.video[:, None] == self.video

    @property
    def negative_mask(self) -> Bool[Tensor, "B R"]:
        """True at real negatives."""
        return self.negatives != torch.arange(len(self.negatives), device=self.negatives.device)[:, None]


@dataclass(frozen=True)
class Targets(PairTargets):
    """What training with moments may look at."""

    labels: Int[Tensor, "B 2"]  # first and last step of each moment
    # start and end of each moment as shares of the time from the video's first step to its last
    share: Float[Tensor, "B 2"]
