"""Ranking of proposals in plain Python, one at a time, written from the description alone."""


def seconds(share: float, starts: list[float], end: float) -> float:
    """A share of the steps as a time: a share of the way through the step that it lies in."""
    place = min(max(share, 0.0), 1.0) * len(starts)
    step = min(int(place), len(starts) - 1)
    edges = [*starts, end]
    return edges[step] + (place - step) * (edges[step + 1] - edges[step])


def iou(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Temporal intersection over union."""
    overlap = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return overlap / ((one[1] - one[0]) + (other[1] - other[0]) - overlap)


def ranked(
    shares: list[tuple[float, float]],
    scores: list[float],
    valid: list[bool],
    starts: list[float],
    end: float,
    *,
    top: int,
    threshold: float,
) -> list[tuple[float, float, float]]:
    """Start, end and score of the best proposals."""
    found = []
    for (first, last), score, counts in zip(shares, scores, valid, strict=True):
        span = seconds(first, starts, end), seconds(last, starts, end)
        if counts and score > float("-inf") and span[1] > span[0]:
            found.append((-score, *span))
    if not found:
        return [(starts[0], end, 0.0)]
    kept: list[tuple[float, float, float]] = []
    for score, first, last in sorted(found):
        if len(kept) < top and all(iou((first, last), other[:2]) <= threshold for other in kept):
            kept.append((first, last, -score))
    return kept
