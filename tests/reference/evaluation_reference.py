"""Scores of predicted spans in plain Python with exact fractions: slow, and independent of `vmr.evaluation`."""

import itertools
import json
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


def read_answers(lines, known_ids):
    """Answers by query id, and how many lines are malformed, duplicate or of an unknown query.

    lines: texts. The first line that can be used counts for a query. Spans with scores are ranked by them; equal
    ones keep their order.
    """
    answers, counts = {}, {"malformed": 0, "duplicate": 0, "unknown": 0}
    for line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            name = record["query_id"]
            if name not in known_ids:
                counts["unknown"] += 1
                continue
            if name in answers:
                counts["duplicate"] += 1
                continue
            ranked = []
            for place, span in enumerate(record["spans"]):
                start, end = Fraction(span[0]), Fraction(span[1])  # refuses NaN and infinity
                if start > end or len(span) != len(record["spans"][0]) or len(span) > 3:
                    raise ValueError
                if any(isinstance(value, str | bool) for value in span):
                    raise ValueError
                ranked.append((-Fraction(span[2]) if len(span) == 3 else 0, place, [start, end]))
            answers[name] = [span for _, _, span in sorted(ranked)]
        except (ValueError, KeyError, TypeError, IndexError, OverflowError):
            counts["malformed"] += 1
    return answers, counts


def bootstrap_distribution(videos):
    """Every mean that drawing as many videos with replacement can give, with its probability.

    videos: the values of the queries of each video.
    """
    chance = Fraction(1, len(videos) ** len(videos))
    distribution = {}
    for drawn in itertools.product(videos, repeat=len(videos)):
        values = [Fraction(value) for video in drawn for value in video]
        mean = sum(values) / len(values)
        distribution[mean] = distribution.get(mean, 0) + chance
    return distribution
