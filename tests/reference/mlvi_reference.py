"""MLVI in plain numpy, one query, one anchor, one word at a time. `words` are vectors, unknown ones replaced."""

import math

import numpy as np
from reference.candidates_reference import mean_between
from reference.neighbours_reference import Vectors, Weights, bi_lstm, cell, linear, lstm, relu, sigmoid, standardised
from reference.proposals_reference import iou

SCALES = (1, 2, 3, 4, 6, 8, 12, 16)  # of at most 20 steps
Span = tuple[float, float]


def anchors(steps: int) -> list[tuple[int, int, Span]]:
    """Step, number of the scale, and span as shares, of the anchors that count."""
    found = []
    for step in range(steps):
        for number, scale in enumerate(SCALES):
            if scale <= steps:
                found.append((step, number, ((step + 0.5 - scale / 2) / steps, (step + 0.5 + scale / 2) / steps)))
    return found


def outputs(weights: Weights, features: np.ndarray, words: Vectors, *, layers: int) -> list[np.ndarray]:
    """Match and two offsets of each anchor that counts."""
    _, sentence = bi_lstm(weights, "query_encoder.lstm.lstm", words)
    gate = linear(weights, "gate", sentence)
    steps = [linear(weights, "video_encoder.projection", x) for x in standardised(weights, features)]
    for layer in range(layers):
        filters, bias = (weights[f"convolutions.{layer}.{name}"] for name in ("weight", "bias"))
        after = []
        for place in range(len(steps)):
            total = bias.copy()
            for tap in range(3):
                where = place + (tap - 1) * 2**layer
                if 0 <= where < len(steps):
                    total += filters[:, :, tap] @ steps[where]
            after.append(relu(total) * (1.0 if layer else gate))
        steps = after
    rows = [linear(weights, "anchor", x).reshape(-1, 3) for x in steps]
    return [rows[step][number] for step, number, _ in anchors(len(steps))]


def moved(span: Span, shift: float, growth: float) -> Span:
    """An anchor after its offsets."""
    length = span[1] - span[0]
    middle, half = (span[0] + span[1]) / 2 + shift * length, length * math.exp(min(max(growth, -3), 3)) / 2
    return middle - half, middle + half


def cut(span: Span) -> Span:
    return min(max(span[0], 0.0), 1.0), min(max(span[1], 0.0), 1.0)


def read(weights: Weights, words: Vectors, clip: np.ndarray) -> tuple[float, Vectors]:
    """Score of a sentence with a proposal's vector, and the states after each word."""
    state = memory = np.zeros(len(clip))
    states = []
    for first in lstm(weights, "retrieval.lstm", "l0", words):
        gates = linear(weights, "retrieval.of_word", first) + linear(weights, "retrieval.of_clip", clip)
        state, memory = cell(gates + linear(weights, "retrieval.of_state", state), memory)
        states.append(state)
    inner = sigmoid(linear(weights, "retrieval.inner", state))
    return float(linear(weights, "retrieval.output", inner)[0]), states


def clip(weights: Weights, features: np.ndarray, span: Span) -> np.ndarray:
    steps = [linear(weights, "retrieval.projection", x) for x in standardised(weights, features)]
    # A span beside the video has the nearest part of it.
    return mean_between(steps, min(max(span[0], 0.0), 1 - 1e-6), min(max(span[1], 1e-6), 1.0))


def caption(weights: Weights, states: Vectors, tokens: list[int]) -> float:
    """Mean cost of the known words, each told by the state after the word before."""
    costs = []
    for state, token in zip(states, tokens[1:], strict=False):
        logits = linear(weights, "retrieval.vocabulary", state)
        if token:
            costs.append(float(np.log(np.exp(logits).sum()) - logits[token]))
    return sum(costs) / len(costs) if costs else 0.0


def anchor_losses(found: list[np.ndarray], steps: int, moment: Span) -> tuple[float, float]:
    """Of match and offsets, for one query."""
    spans = [span for _, _, span in anchors(steps)]
    shares = [iou(span, moment) for span in spans]
    right, wrong, offsets = [], [], []
    for place, (match, *moves) in enumerate(found):
        if shares[place] >= 0.7 or place == int(np.argmax(shares)):
            right.append(math.log(1 + math.exp(-match)))
            length = spans[place][1] - spans[place][0]
            wanted = (sum(moment) - sum(spans[place])) / 2 / length, math.log((moment[1] - moment[0]) / length)
            errors = [abs(move - want) for move, want in zip(moves, wanted, strict=True)]
            offsets.append(sum(e - 1 / 18 if e > 1 / 9 else 4.5 * e * e for e in errors))
        elif shares[place] < 0.3:
            wrong.append(math.log(1 + math.exp(match)))
    mean = lambda values: sum(values) / max(len(values), 1)  # noqa: E731
    return (mean(right) + mean(wrong)) / 2, mean(offsets)
