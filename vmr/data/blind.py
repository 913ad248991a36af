"""Samples with one input exchanged: what a network can do that does not see the query, or not the video.

The network, its training and its sizes stay what they are, and so do the distributions of both inputs; only the
tie between an input and the rest of the sample is cut. What is left is what the other input gives away.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from vmr.data.samples import Samples
from vmr.errors import FeatureError, QueryError
from vmr.methods.entry import Exchanged

# Of the one exchange by which a network is validated and tested; training draws anew in every epoch.
EVALUATION_SEED = (20210711, 0)


def exchange_input(
    samples: Samples, what: Exchanged, *, seed: Sequence[int], besides: Samples | None = None
) -> Samples:
    """The same samples, each with the query or the features of another one; labels and times stay its own. `besides`
    may give where the samples have too few.

    - ``query``: each sample gets the words of another, of another video unless more than half of the samples
      belong to one. All queries are used once; a single sample gets one of `besides`.
    - ``video``: each video gets the features of another, all queries to it the same ones. They are fitted to its
      own number of steps (`vmr.data.collate.Collator`), so that its duration stays known.

    Raises:
        QueryError: there is no other sample to take the query from.
        FeatureError: there is no other video to take features from.
    """
    random = np.random.default_rng(list(seed))
    if what == "query":
        pool = [samples] if len(samples) > 1 or besides is None else [samples, besides]
        width = max(own.tokens.shape[1] for own in pool)
        tokens = torch.cat([nn.functional.pad(own.tokens, (0, width - own.tokens.shape[1])) for own in pool])
        counts = torch.cat([own.word_counts for own in pool])
        source = other_queries(torch.cat([own.video for own in pool]).numpy(), random)
        other = torch.from_numpy(source[: len(samples)])
        return replace(samples, tokens=tokens[other], word_counts=counts[other])
    videos = _videos(samples, besides)
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


def exchange_by_split(samples: Samples, what: Exchanged, *, besides: Samples | None) -> Samples:
    """The exchange of an evaluation: each split by itself, so that splits answer together as they do alone, in the same
    order. Splits that have nothing to be exchanged for are left out.
    """
    kept: list[int] = []
    tokens, counts, shown = samples.tokens.clone(), samples.word_counts.clone(), samples.video.clone()
    for split in dict.fromkeys(samples.splits):
        rows = [row for row, own in enumerate(samples.splits) if own == split]
        part = samples.take(rows)
        more = besides if len(_videos(part, None)) < 2 else None
        if not others_there(part, what, besides=more):
            continue
        part = exchange_input(part, what, seed=EVALUATION_SEED, besides=more)
        kept += rows
        width = max(tokens.shape[1], part.tokens.shape[1])
        tokens = nn.functional.pad(tokens, (0, width - tokens.shape[1]))
        tokens[rows] = nn.functional.pad(part.tokens, (0, width - part.tokens.shape[1]))
        counts[rows] = part.word_counts
        if part.shown_video is not None:
            shown[rows] = part.shown_video
    exchanged = replace(samples, tokens=tokens, word_counts=counts, shown_video=shown if what == "video" else None)
    return exchanged.take(sorted(kept))


def others_there(samples: Samples, what: Exchanged, *, besides: Samples | None = None) -> bool:
    """Whether an input of these samples can be exchanged at all, see `exchange_input`."""
    if what == "query":
        return len(samples) + (0 if besides is None else len(besides)) > 1
    return len(_videos(samples, besides)) > 1


def _videos(samples: Samples, besides: Samples | None) -> Int[np.ndarray, "V"]:
    return np.unique(np.concatenate([own.video.numpy() for own in (samples, besides) if own is not None]))


def other_queries(video: Int[np.ndarray, "Q"], random: np.random.Generator) -> Int[np.ndarray, "Q"]:
    """For each sample another one, whose query it gets; each is taken once.

    The samples are laid out video by video, in random order, and moved on by the size of the largest video, so
    that none lands in its own video as long as no video has more than half of all.

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
