"""Which queries become case studies: best, median and worst answers, and some by chance."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float


def choose_cases(
    iou: Float[np.ndarray, " Q"],
    *,
    miss: Float[np.ndarray, " Q"],
    answered_mask: Bool[np.ndarray, " Q"],
    video_ids: Sequence[str],
    each: int,
    by_chance: int,
    seed: int,
) -> dict[int, list[str]]:
    """Choose queries among the answered ones.

    Best, median and worst show a video once each, as long as there are enough of them. Those drawn by chance are
    drawn from all answered queries, so that they are a fair sample; a query may be of two kinds.

    Args:
        miss: how far answers are off, the larger the worse: puts answers of equal IoU in order.
        answered_mask: True where there is an answer.
        each: how many best, median and worst ones.

    Returns:
        Kinds by number of the query, in the order best, median, worst, random.
    """
    answered = np.flatnonzero(answered_mask)
    ranked = answered[np.lexsort((answered, miss[answered], -iou[answered]))]
    middle = (len(ranked) - 1) / 2
    from_middle = ranked[np.argsort(np.abs(np.arange(len(ranked)) - middle), kind="stable")]
    orders = {"best": ranked, "median": from_middle, "worst": ranked[::-1]}
    chosen: dict[int, list[str]] = {}
    for kind, order in orders.items():
        free = [number for number in order if int(number) not in chosen]
        for number in _spread(free, video_ids, each):
            chosen.setdefault(number, []).append(kind)
    drawn = np.random.default_rng(seed).permutation(len(answered))[:by_chance]
    for number in sorted(answered[drawn].tolist()):
        chosen.setdefault(number, []).append("random")
    return chosen


def _spread(order: Sequence[int], video_ids: Sequence[str], count: int) -> list[int]:
    """The first `count` of an order, a video once; videos come again only when all had their turn."""
    first: list[int] = []
    again: list[int] = []
    seen: set[str] = set()
    for number in map(int, order):
        (again if video_ids[number] in seen else first).append(number)
        seen.add(video_ids[number])
    return (first + again)[:count]
