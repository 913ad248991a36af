"""2D-TAN, CTRL, MAN and MLLC in plain numpy, one query, one candidate and one cell at a time.

Written from the description alone; only the names of weights are shared. `words` are vectors, unknown ones replaced.
"""

import numpy as np
from reference.neighbours_reference import Vectors, Weights, bi_lstm, linear, relu, standardised
from reference.proposals_reference import iou


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).sum())


def mean_between(steps: Vectors, first: float, last: float) -> np.ndarray:
    """Mean of the steps between two shares of the video; steps count by the part that lies between."""
    parts = [max(0.0, min(last * len(steps), i + 1) - max(first * len(steps), i)) for i in range(len(steps))]
    return sum(part * step for part, step in zip(parts, steps, strict=True)) / sum(parts)


def cells(clips: int) -> list[tuple[int, int]]:
    """First and last clip of each cell of the map that is a candidate."""
    found = []
    for length in range(1, clips + 1):
        for first in range(clips - length + 1):
            stride = 1 if length <= 16 else 2 if length <= 32 else 4
            if length % stride == 0 and first % stride == 0:
                found.append((first, first + length - 1))
    return found


def tan_2d(weights: Weights, features: np.ndarray, words: Vectors, *, clips: int, kernel: int, layers: int,
           query_layers: int) -> list[float]:  # fmt: skip
    """Logits of the candidates, in the order of `cells`."""
    _, sentence = bi_lstm(weights, "query_encoder.lstm.lstm", words, layers=query_layers)
    sentence = linear(weights, "of_sentence", sentence)
    steps = [relu(linear(weights, "video_encoder.projection", x)) for x in standardised(weights, features)]
    n = len(steps)
    pooled = []
    for b in range(clips):
        first = b * n // clips
        pooled.append(np.mean(steps[first : max((b + 1) * n // clips, first + 1)], axis=0))
    at = {}
    for first, last in cells(clips):
        highest = np.max(pooled[first : last + 1], axis=0)
        at[first, last] = unit(linear(weights, "of_candidates", highest) * sentence)
    for layer in range(layers):
        filters, bias = (weights[f"convolutions.{layer}.{name}"] for name in ("weight", "bias"))
        after = {}
        for first, last in at:
            total, seen = bias.copy(), 0
            for i in range(kernel):
                for j in range(kernel):
                    where = first + i - kernel // 2, last + j - kernel // 2
                    if where in at:
                        total += filters[:, :, i, j] @ at[where]
                        seen += 1
            after[first, last] = relu(total) / (seen / kernel**2)
        at = after
    return [float(linear(weights, "score", x)[0]) for x in at.values()]


def tan_2d_loss(logits: list[float], clips: int, moment: tuple[float, float]) -> float:
    """Mean cross entropy against the IoU, of which 0.5 counts as 0."""
    each = []
    for logit, (first, last) in zip(logits, cells(clips), strict=True):
        wanted = min(max((iou((first / clips, (last + 1) / clips), moment) - 0.5) / 0.5, 0.0), 1.0)
        p = 1 / (1 + np.exp(-logit))
        each.append(-wanted * np.log(p) - (1 - wanted) * np.log(1 - p))
    return float(np.mean(each))


def windows() -> list[tuple[float, float]]:
    """CTRL's windows."""
    found = []
    for length, strides in ((1 / 8, 40), (1 / 4, 20), (1 / 2, 10)):
        found += [(i / strides, i / strides + length) for i in range(strides) if i / strides + length < 1 + 1e-9]
    return found


def ctrl(weights: Weights, features: np.ndarray, words: Vectors) -> tuple[Vectors, np.ndarray]:
    """Vectors of the windows, and of the sentence."""
    _, sentence = bi_lstm(weights, "query_encoder.lstm.lstm", words)
    inputs = standardised(weights, features)
    own, before, after = np.split(weights["video_encoder.projection.weight"], 3)
    bias = sum(np.split(weights["video_encoder.projection.bias"], 3))
    found = []
    for first, last in windows():
        window = mean_between(inputs, first, last)
        left = mean_between(inputs, max(first - 1 / 8, 0), first) if first > 0 else window
        right = mean_between(inputs, last, min(last + 1 / 8, 1)) if last < 1 - 1e-9 else window
        found.append(unit(own @ window + before @ left + after @ right + bias))
    return found, unit(linear(weights, "of_sentence", sentence))


def ctrl_match(weights: Weights, window: np.ndarray, sentence: np.ndarray) -> np.ndarray:
    """Score, and offsets in steps."""
    fused = np.concatenate([window * sentence, window + sentence, window, sentence])
    return linear(weights, "output", relu(linear(weights, "fused", fused)))


def ctrl_losses(
    weights: Weights, found: list[tuple[Vectors, np.ndarray]], moments: list[tuple[float, float]], counts: list[int]
) -> tuple[float, float]:
    """Of scores and offsets, each query with the best window that fits, of different videos all."""
    chosen = []
    for start, end in moments:
        values = []
        for first, last in windows():
            share = iou((first, last), (start, end))
            outside = 1 - max(0.0, min(last, end) - max(first, start)) / (last - first)
            values.append(share + (share > 0.5 and outside < 0.15))
        chosen.append(int(np.argmax(values)))
    match, offset, size = 0.0, [], len(found)
    for i, (_, sentence) in enumerate(found):
        for j, (vectors, _) in enumerate(found):
            score, *moved = ctrl_match(weights, vectors[chosen[j]], sentence)
            sign, weight = (-1, 1 + 1 / size) if i == j else (1, 1 / size)
            match += weight * np.log(1 + np.exp(sign * score))
            if i == j:
                wanted = np.subtract(moments[i], windows()[chosen[i]]) * counts[i]
                offset.append(np.abs(np.array(moved) - wanted).sum())
    return match / size, float(np.mean(offset))


def man(
    weights: Weights, features: np.ndarray, words: Vectors, *, parts: int, iterations: int
) -> tuple[list[tuple[float, float]], np.ndarray]:
    """Moved candidates, and logits and offsets (three numbers) of each; the finest level first."""
    states, _ = bi_lstm(weights, "query_encoder.lstm.lstm", words)
    mean = np.mean([np.tanh(linear(weights, "filters", state)) for state in states], axis=0)
    inputs, n = standardised(weights, features), len(features)
    row = []
    for b in range(parts):
        first = b * n // parts
        steps = inputs[first : max((b + 1) * n // parts, first + 1)]
        row.append(linear(weights, "video_encoder.projection", np.mean(steps, axis=0)) * mean)
    nodes, spans, level = [], [], 0
    while True:
        kernel, bias = (weights[f"levels.{level}.{name}"] for name in ("weight", "bias"))
        beside = [np.zeros_like(row[0]), *row, np.zeros_like(row[0])]
        row = [relu(bias + sum(kernel[:, :, k] @ beside[i + k] for k in range(3))) for i in range(len(row))]
        nodes += row
        spans += [(i / len(row), (i + 1) / len(row)) for i in range(len(row))]
        if len(row) == 1:
            break
        row, level = [np.maximum(row[i], row[i + 1]) for i in range(0, len(row), 2)], level + 1
    edges, now = np.eye(len(nodes)), nodes
    for l in range(iterations):  # noqa: E741
        for i, one in enumerate(now):
            relation = [float(linear(weights, f"graph.relations.{l}", one) @ other) for other in now]
            roots = np.array([number / (abs(number) + 1e-4) ** 0.5 for number in relation])
            roots = roots if not roots.any() else unit(roots)
            edges[i] = np.tanh(edges[i] + roots)
        sums = [sum(weight * node for weight, node in zip(row, nodes, strict=True)) for row in edges]
        now = [relu(linear(weights, f"graph.outputs.{l}", x)) for x in sums]
    found = np.array([linear(weights, "output", x) for x in now])
    found[:, 1:] = np.tanh(found[:, 1:])
    moved = []
    for (start, end), (_, shift, longer) in zip(spans, found, strict=True):
        centre, length = (start + end) / 2 + shift * (end - start), (end - start) * np.exp(longer)
        moved.append((centre - length / 2, centre + length / 2))
    return moved, found


def man_losses(found: np.ndarray, parts: int, moment: tuple[float, float]) -> tuple[float, float]:
    """Of scores and offsets of one query."""
    spans = [
        (i / size, (i + 1) / size) for size in (parts >> k for k in range(parts.bit_length())) for i in range(size)
    ]
    overlaps = [iou(span, moment) for span in spans]
    match, offset, best = [], [], int(np.argmax(overlaps))
    for i, ((start, end), (logit, *moved)) in enumerate(zip(spans, found, strict=True)):
        p = 1 / (1 + np.exp(-logit))
        if overlaps[i] <= 0.5 and i != best:
            match.append(-np.log(1 - p))
            continue
        match.append(-np.log(p))
        length = end - start
        wanted = (sum(moment) - start - end) / 2 / length, np.log((moment[1] - moment[0]) / length)
        errors = np.abs(np.subtract(moved, wanted))
        offset.append(np.where(errors < 1, errors**2 / 2, errors - 0.5).sum())
    return float(np.mean(match)), float(np.mean(offset))


def runs(clips: int) -> list[tuple[int, int]]:
    """MLLC's moments: first clip, and the one after the last; by length."""
    return [(first, first + length) for length in range(1, clips + 1) for first in range(clips - length + 1)]


def mllc_rows(weights: Weights, features: np.ndarray, clips: int) -> list[np.ndarray]:
    """What describes each moment or context."""
    inputs, n, means = standardised(weights, features), len(features), []
    for b in range(clips):
        first = b * n // clips
        means.append(np.mean(inputs[first : max((b + 1) * n // clips, first + 1)], axis=0))
    found = []
    for first, last in runs(clips):
        found.append(np.append(unit(np.mean(means[first:last], axis=0)), [first / clips, (last - 1) / clips]))
    return found


def mllc(weights: Weights, features: np.ndarray, words: Vectors, *, clips: int) -> list[float]:
    """Score of each moment: that with its best context."""
    _, sentence = bi_lstm(weights, "query_encoder.lstm.lstm", words)
    sentence = linear(weights, "of_sentence", sentence)
    rows, scores = mllc_rows(weights, features, clips), []
    for moment in rows:
        each = []
        for context in rows:
            both = linear(weights, "of_moment", moment) + linear(weights, "of_context", context)
            hidden = relu(linear(weights, "matched", unit(both * sentence)))
            each.append(float(linear(weights, "score", hidden)[0]))
        scores.append(max(each))
    return scores


def mllc_losses(
    scores: list[float], others: list[float], clips: int, moment: tuple[float, float], *, margin: float, near: float
) -> tuple[float, float]:
    """Of other moments of the video, all that count; and of the same moment of another video, whose scores follow."""
    overlaps = [iou((first / clips, last / clips), moment) for first, last in runs(clips)]
    best = int(np.argmax(overlaps))
    far = [score for i, score in enumerate(scores) if overlaps[i] <= near and i != best]
    hinges = [max(0.0, margin - scores[best] + score) for score in far]
    return float(np.mean(hinges)) if hinges else 0.0, max(0.0, margin - scores[best] + others[best])
