"""Padded batches with masks, gathered where the features lie; and which samples share a batch.

Shapes: B queries of a batch, U different videos of them, N steps of the longest, L words of the longest query,
D features, E word vector.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from vmr.data.samples import Samples
from vmr.data.video_steps import VideoSteps
from vmr.methods.entry import Supervision
from vmr.model.batch import Batch, PairTargets, Targets

# On a card shapes are rounded up, so that a step can be recorded for each (`vmr.training.step`): to so many steps, so
# many words, and as many videos as queries.
_STEPS_ON_A_CARD, _WORDS_ON_A_CARD = 16, 8
# Batches are cut out of stretches of so many of them, sorted by length: long enough for batches of nearly equal
# lengths, short enough that each epoch mixes the queries anew.
_BATCHES_SORTED_TOGETHER = 16
# Lengths are compared in units of so many steps: sorted to the step, all queries to a video would share a batch,
# and videos of a data set of nearly equal ones would always meet the same mates. For Charades-STA 4.4 % of the rows
# of a batch are then padding; units of 16 steps would make it 8.2 %, of one step 3.1 %.
_LENGTH_UNIT = 4


class Collator:
    """Makes batches of samples.

    Args:
        vectors: word vectors; row 0 (unknown words) is zeros.
        word_numbers: number of each row's word, where a word has several vectors; None: that of the row.
    """

    def __init__(
        self,
        videos: VideoSteps,
        vectors: Float[np.ndarray, "W E"],
        *,
        device: torch.device | str = "cpu",
        word_numbers: Int[np.ndarray, "W"] | None = None,
    ) -> None:
        self.videos = videos
        self.device = torch.device(device)
        self.vectors = torch.from_numpy(vectors).to(self.device)
        numbers = np.arange(len(vectors)) if word_numbers is None else word_numbers
        self._word_numbers = torch.from_numpy(numbers).to(self.device)
        self._rounds_up = self.device.type == "cuda"

    def __call__(self, samples: Samples, rows: Int[np.ndarray, "B"]) -> Batch:
        """Gather the samples of the given numbers, padded to the longest video and query among them.

        Samples that are shown another video (`vmr.data.blind`) get the features of its steps that lie nearest in
        relative time, so that they have as many steps as their own.
        """
        chosen = torch.from_numpy(np.ascontiguousarray(rows))
        video = samples.video[chosen]
        step_counts, word_counts = self.videos.counts[video], samples.word_counts[chosen]
        if samples.shown_video is None:
            different, of_query = torch.unique(video, return_inverse=True)
            where = self.row_numbers(different)
        else:
            pairs, of_query = torch.unique(
                torch.stack([video, samples.shown_video[chosen]], dim=1), dim=0, return_inverse=True
            )
            where = self.row_numbers(pairs[:, 0], shown=pairs[:, 1])
        longest = int(word_counts.max())
        if self._rounds_up:
            where = torch.cat([where, where[:1].expand(len(chosen) - len(where), -1)])
            longest = -(-longest // _WORDS_ON_A_CARD) * _WORDS_ON_A_CARD
        tokens = samples.tokens[chosen, :longest]
        real = torch.arange(tokens.shape[1]) < word_counts[:, None]
        tokens_there = tokens.to(self.device)
        return Batch(
            features=self.videos.rows[where.to(self.videos.rows.device)].to(self.device),
            video=of_query.to(self.device),
            step_counts=step_counts.to(self.device),
            words=self.vectors[tokens_there],
            unknown_mask=((tokens == 0) & real).to(self.device),
            word_counts=word_counts.to(self.device),
            tokens=self._word_numbers[tokens_there],
        )

    def targets(
        self,
        samples: Samples,
        rows: Int[np.ndarray, "B"],
        batch: Batch,
        *,
        supervision: Supervision = "spans",
        negatives: int = 0,
        seed: Sequence[int] = (0,),
    ) -> PairTargets:
        """What training may hold against a batch: `Targets`, or without spans for the supervision ``pairs``."""
        chosen = torch.from_numpy(np.ascontiguousarray(rows))
        video = samples.video[chosen]
        others = draw_negatives(video.numpy(), count=negatives, seed=seed)
        pairs = PairTargets(
            video=video.to(self.device),
            step_counts=batch.step_counts,
            tokens=batch.tokens,
            negatives=torch.from_numpy(others).to(self.device),
        )
        if supervision == "pairs":
            return pairs
        labels, share = samples.labels[chosen].to(self.device), samples.share[chosen].to(self.device)
        return Targets(**vars(pairs), labels=labels, share=share)

    def row_numbers(self, video: Int[Tensor, "B"], *, shown: Int[Tensor, "B"] | None = None) -> Int[Tensor, "B N"]:
        """Rows of `VideoSteps.rows` of each step of the videos; the padding row after their last step.

        Args:
            video: numbers of the videos.
            shown: numbers of videos whose rows stand in for theirs: for each step the one in whose share of its
                video the middle of the step's share of its own lies.
        """
        counts = self.videos.counts[video]
        longest = int(counts.max())
        if self._rounds_up:
            longest = min(-(-longest // _STEPS_ON_A_CARD) * _STEPS_ON_A_CARD, int(self.videos.counts.max()))
        step = torch.arange(longest)
        padding = len(self.videos.rows) - 1
        if shown is None:
            return torch.where(step < counts[:, None], self.videos.offsets[video][:, None] + step, padding)
        source = (2 * step + 1) * self.videos.counts[shown][:, None] // (2 * counts[:, None])
        return torch.where(step < counts[:, None], self.videos.offsets[shown][:, None] + source, padding)

    def seconds(self, video: Int[Tensor, "B"]) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
        """Starts and ends of the steps in seconds (float64), padded with zeros."""
        where = self.row_numbers(video)
        return self.videos.start_sec[where].to(self.device), self.videos.end_sec[where].to(self.device)


def draw_negatives(video: Int[np.ndarray, "B"], *, count: int, seed: Sequence[int]) -> Int[np.ndarray, "B R"]:
    """For each query of a batch others about other videos, drawn again only where there are fewer than asked for.

    Batches are sorted by length, so that negatives are about as long as the video itself.

    Returns:
        Numbers of queries of the batch; a query's own number where no other video is in the batch.
    """
    size = len(video)
    if not count:
        return np.zeros((size, 0), dtype=np.int64)
    same = video[:, None] == video
    order = np.where(same, np.inf, np.random.default_rng(list(seed)).random((size, size))).argsort(axis=1)
    others = (~same).sum(axis=1)
    place = np.arange(count) % np.maximum(others, 1)[:, None]
    drawn = np.take_along_axis(order, place, axis=1)
    return np.where(others[:, None] > 0, drawn, np.arange(size)[:, None]).astype(np.int64)


def training_batches(
    step_counts: Int[np.ndarray, "Q"], *, batch_size: int, seed: int, epoch: int
) -> list[Int[np.ndarray, "B"]]:
    """Shuffled batches of samples whose videos are about equally long, so that little is padded.

    Not in the paper. The order is a function of seed and epoch alone, so that a resumed run goes on with it.

    Args:
        batch_size: samples a batch; one of the last stretch may be smaller, whose place in it is drawn.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(step_counts))
    stretch = batch_size * _BATCHES_SORTED_TOGETHER
    batches: list[NDArray[np.int64]] = []
    for begin in range(0, len(order), stretch):
        part = order[begin : begin + stretch]
        part = part[np.argsort(-(-step_counts[part] // _LENGTH_UNIT), kind="stable")]
        cuts = np.arange(batch_size, len(part), batch_size)
        if short := len(part) % batch_size:
            # Always at the end, it would always hold the longest videos.
            cuts[generator.integers(len(cuts) + 1) :] += short - batch_size
        batches.extend(np.split(part, cuts))
    return [batches[number] for number in generator.permutation(len(batches))]


def ordered_batches(step_counts: Int[np.ndarray, "Q"], *, batch_size: int) -> Iterator[Int[np.ndarray, "B"]]:
    """Batches for prediction: every sample once, by the length of its video."""
    order = np.argsort(step_counts, kind="stable")
    for begin in range(0, len(order), batch_size):
        yield order[begin : begin + batch_size]
