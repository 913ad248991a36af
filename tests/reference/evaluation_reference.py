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


def average_precision(windows, moments, threshold):
    """Average precision of one query as moment_detr's standalone_eval defines it, in exact fractions.

    windows: [start, end, score] in the order of the file, of which ten count. From the highest score on, each takes the
    moment of the largest IoU that is still free; below the threshold it is a false positive. The precision is
    interpolated: at each recall the highest that is reached there or later.
    """
    taken, found = set(), []
    for start, end, _ in sorted(windows[:10], key=lambda window: -window[2]):
        ious = {place: iou((start, end), moment) for place, moment in enumerate(moments) if place not in taken}
        reached = [place for place, value in ious.items() if value >= threshold]
        if reached:
            taken.add(max(reached, key=lambda place: (ious[place], place)))
        found.append(bool(reached))
    points = [(Fraction(sum(found[:n]), len(moments)), Fraction(sum(found[:n]), n)) for n in range(1, len(found) + 1)]
    area, before = Fraction(0), Fraction(0)
    for recall, _ in points:
        area += (recall - before) * max(precision for later, precision in points if later >= recall)
        before = recall
    return area


def retrieval_scores(answers, truth):
    """What moment_detr's standalone_eval prints: R@1 of the first window of a line against its best moment, and mAP.

    answers: windows by query; truth: moments by query.
    """
    result = {}
    for top in (1, 5):
        for name, threshold in THRESHOLDS.items():
            hits = [any(iou(w[:2], m) >= threshold for w in answers[q][:top] for m in truth[q]) for q in truth]
            result[f"R@{top},IoU={name}"] = 100 * sum(hits) / len(hits)
    grid = [Fraction(50 + 5 * step, 100) for step in range(10)]
    means = [sum(average_precision(answers[q], truth[q], t) for q in truth) / len(truth) for t in grid]
    return result | {
        "mAP@0.5": float(100 * means[0]),
        "mAP@0.75": float(100 * means[5]),
        "mAP": float(100 * sum(means) / len(means)),
    }


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
