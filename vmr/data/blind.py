"""Samples with one input exchanged: what a network can do that does not see the query, or not the video.

The network, its training and its sizes stay what they are, and so do the distributions of both inputs; only the
tie between an input and the rest of the sample is cut. What is left is what the other input gives away.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int

from vmr.data.samples import Samples
from vmr.errors import FeatureError, QueryError

Exchanged = Literal["query", "video"]

# Of the one exchange by which a network is validated and tested; training draws anew in every epoch.
EVALUATION_SEED = (20210711, 0)


def exchange_input(
    samples: Samples, what: Exchanged, *, seed: Sequence[int], besides: Samples | None = None
) -> Samples:
    """The same samples, each with the query or the features of another one; labels and times stay its own.

    - ``query``: each sample gets the words of another, of another video unless more than half of the samples
      belong to one. All queries are used once.
    - ``video``: each video gets the features of another, all queries to it the same ones. They are fitted to its
      own number of steps (`vmr.data.collate.Collator`), so that its duration stays known.

    Args:
        samples: at least two of them (``query``), or of two videos (``video``, with those of `besides`).
        what: the input that is exchanged.
        seed: numbers that the exchange is a function of.
        besides: samples whose videos may be shown too; few validation videos need some to be exchanged for.

    Raises:
        QueryError: there is no other sample to take the query from.
        FeatureError: there is no other video to take features from.
    """
    random = np.random.default_rng(list(seed))
    if what == "query":
        other = torch.from_numpy(other_queries(samples.video.numpy(), random))
        return replace(samples, tokens=samples.tokens[other], word_counts=samples.word_counts[other])
    videos = np.unique(np.concatenate([own.video.numpy() for own in (samples, besides) if own is not None]))
    if len(videos) < 2:
        raise FeatureError(
            f"the {len(samples)} queries of {', '.join(sorted(set(samples.splits)))} have {len(videos)} video with "
            "features, so that it cannot be exchanged for another. Leave the video-blind method out of "
            "`training.methods`, or add videos."
        )
    order = random.permutation(videos)
    shown = np.zeros(videos.max() + 1, dtype=np.int64)
    shown[order] = np.roll(order, 1)
    return replace(samples, shown_video=torch.from_numpy(shown)[samples.video])


def other_queries(video: Int[np.ndarray, "Q"], random: np.random.Generator) -> Int[np.ndarray, "Q"]:
    """For each sample another one, whose query it gets; each is taken once.

    The samples are laid out video by video, in random order, and moved on by the size of the largest video, so
    that none lands in its own video as long as no video has more than half of all.

    Args:
        video: number of the video of each sample.
        random: where chance comes from.

    Raises:
        QueryError: there is one sample only.
    """
    count = len(video)
    if count < 2:
        raise QueryError(
            f"{count} query with features cannot be exchanged for another. Leave the query-blind method out of "
            "`training.methods`, or add queries."
        )
    _, group, sizes = np.unique(video, return_inverse=True, return_counts=True)
    within = random.permutation(count)
    order = within[np.argsort(random.permutation(len(sizes))[group[within]], kind="stable")]
    shift = int(sizes.max()) if 2 * int(sizes.max()) <= count else 1
    other = np.empty(count, dtype=np.int64)
    other[order] = np.roll(order, -shift)
    return other
