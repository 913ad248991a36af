"""The queries that can be trained or predicted on: tokens, video and labels of each, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vmr.data.video_steps import VideoSteps
from vmr.model.spans import span_to_steps
from vmr.queries.store import QueryStore


@dataclass(frozen=True)
class Samples:
    """Queries with features, in the order of the table of moments."""

    query_ids: list[str]  # their ids
    splits: list[str]  # their splits
    video_ids: list[str]  # ids of their videos
    video: Int[Tensor, "Q"]  # numbers of their videos in the `VideoSteps`
    tokens: Int[Tensor, "Q L"]  # indices into the vocabulary, padded with 0
    word_counts: Int[Tensor, "Q"]  # words of each
    labels: Int[Tensor, "Q 2"]  # first and last step of the moment, inclusive
    span_sec: Float[Tensor, "Q 2"]  # the moment in seconds, clamped to the video
    # the moment as shares of the time from the start of the video's first step to the end of its last
    share: Float[Tensor, "Q 2"]
    dropped: list[str]  # queries that were left out because nothing of their moment is inside the video
    # numbers of the videos whose features are shown instead of their own; None: their own
    shown_video: Int[Tensor, "Q"] | None = None

    def __len__(self) -> int:
        return len(self.query_ids)

    def take(self, rows: Sequence[int]) -> Self:
        """Some of the samples, in this order."""
        index = torch.tensor(rows, dtype=torch.int64)
        of_queries = {name: own for name, own in vars(self).items() if name != "dropped" and own is not None}
        taken: dict[str, Any] = {
            name: own[index] if isinstance(own, Tensor) else [own[row] for row in rows]
            for name, own in of_queries.items()
        }
        return replace(self, **taken)


def build_samples(moments: pd.DataFrame, videos: VideoSteps, queries: QueryStore, *, drop_empty: bool) -> Samples:
    """Look up tokens and labels of the moments whose videos have features.

    Args:
        drop_empty: leave out (and list) moments that are empty after clamping; False keeps them, for prediction.

    Raises:
        QueryError: the query store lacks a query.
    """
    covered = moments[moments["video_id"].isin(videos.index)]
    empty = covered["clamped_start_sec"] >= covered["clamped_end_sec"]
    dropped = list(covered["query_id"][empty]) if drop_empty else []
    kept = covered[~empty] if drop_empty else covered
    tokens = [queries.token_ids(query_id) for query_id in kept["query_id"]]
    word_counts = np.array([len(ids) for ids in tokens], dtype=np.int64)
    padded = np.zeros((len(tokens), int(word_counts.max(initial=1))), dtype=np.int64)
    for row, ids in enumerate(tokens):
        padded[row, : len(ids)] = ids
    numbers = np.array([videos.index[video_id] for video_id in kept["video_id"]], dtype=np.int64)
    spans = kept[["clamped_start_sec", "clamped_end_sec"]].to_numpy(dtype=np.float64)
    labels = np.zeros((len(tokens), 2), dtype=np.int64)
    share = np.zeros((len(tokens), 2), dtype=np.float32)
    for number in np.unique(numbers):
        of_video = numbers == number
        start_sec, end_sec = videos.times(int(number))
        labels[of_video] = span_to_steps(spans[of_video], start_sec=start_sec, end_sec=end_sec)
        length = end_sec[-1] - start_sec[0]
        if length > 0:
            share[of_video] = ((spans[of_video] - start_sec[0]) / length).clip(0.0, 1.0)
    return Samples(
        query_ids=list(kept["query_id"]),
        splits=list(kept["split"]),
        video_ids=list(kept["video_id"]),
        video=torch.from_numpy(numbers),
        tokens=torch.from_numpy(padded),
        word_counts=torch.from_numpy(word_counts),
        labels=torch.from_numpy(labels),
        span_sec=torch.from_numpy(spans.copy()),
        share=torch.from_numpy(share),
        dropped=dropped,
    )
