"""Scores of predicted spans in plain Python with exact fractions: slow, and independent of `vmr.evaluation`."""

from fractions import Fraction

THRESHOLDS = {"0.3": Fraction(3, 10), "0.5": Fraction(1, 2), "0.7": Fraction(7, 10)}


def iou(first, second):
    """Two spans without length count 1 where they are the same point, else 0."""
    first_start, first_end = map(Fraction, first)
    second_start, second_end = map(Fraction, second)
    overlap = min(first_end, second_end) - max(first_start, second_start)
    if overlap < 0:
        return Fraction(0)
    union = max(first_end, second_end) - min(first_start, second_start)
    return overlap / union if union else Fraction(1)


def clamp(span, duration):
    """A span cut to [0, duration]; unknown durations (None) cut nothing at the end."""
    limit = float("inf") if duration is None else duration
    return [min(max(value, 0.0), limit) for value in span]


def score(queries, answers, *, clamped):
    """Percentages by metric name.

    queries: dictionaries with id, span, duration; answers: spans by query id, best first.
    """
    names = [f"R@{top},IoU={name}" for top in (1, 5) for name in THRESHOLDS] + ["mIoU"]
    if not queries:
        return None
    totals = dict.fromkeys(names, Fraction(0))
    for query in queries:
        truth = clamp(query["span"], query["duration"]) if clamped else query["span"]
        ious = [iou(span, truth) for span in answers.get(query["id"], [])]
        for top in (1, 5):
            for name, threshold in THRESHOLDS.items():
                if any(value >= threshold for value in ious[:top]):
                    totals[f"R@{top},IoU={name}"] += 1
        if ious:
            totals["mIoU"] += ious[0]
    return {name: float(100 * total / len(queries)) for name, total in totals.items()}
