"""TripNet's greedy rollout, rewards and losses in plain numpy, one query and one move at a time."""

import itertools
import math

import numpy as np
from reference.candidates_reference import mean_between
from reference.neighbours_reference import Vectors, Weights, bi_lstm, cell, linear, relu, sigmoid, softmax, standardised
from reference.proposals_reference import iou

Window = tuple[float, float]


def change(window: Window, move: tuple[float, float]) -> Window:
    """The window after a move: whole ones stop at the borders, boundaries also a twentieth before each other."""
    start, end = window
    if move[0] == move[1]:
        by = min(max(move[0], -start), 1 - end)
        return start + by, end + by
    return min(max(start + move[0], 0), end - 0.05), max(min(end + move[1], 1), start + 0.05)


def rollout(
    weights: Weights, features: np.ndarray, words: Vectors, moves: list[tuple[float, float]], *, window: float
) -> dict[str, list]:
    """Windows, and of each move its probability, that of stopping, entropy and value; it ends with the stop."""
    _, sentence = bi_lstm(weights, "query_encoder.lstm.lstm", words)
    gate = sigmoid(linear(weights, "gate", sentence))
    steps = [linear(weights, "video_encoder.projection", x) for x in standardised(weights, features)]
    now = (0.5 - window / 2, 0.5 + window / 2)
    found: dict[str, list] = {"windows": [now], "chances": [], "stops": [], "entropies": [], "values": []}
    h = c = np.zeros(weights["memory.weight_hh"].shape[1])
    for _ in range(10):
        x = relu(linear(weights, "seen", np.concatenate([mean_between(steps, *now) * gate, now])))
        gates = weights["memory.weight_ih"] @ x + weights["memory.bias_ih"]
        h, c = cell(gates + weights["memory.weight_hh"] @ h + weights["memory.bias_hh"], c)
        policy = softmax(list(linear(weights, "policy", h)))
        best = int(np.argmax(policy))
        found["chances"].append(policy[best])
        found["stops"].append(policy[-1])
        found["entropies"].append(-float((policy * np.log(policy)).sum()))
        found["values"].append(float(linear(weights, "value", h)[0]))
        if best == len(moves) - 1:
            found["windows"].append(now)
            found["stopped"] = [True]
            return found
        now = change(now, moves[best])
        found["windows"].append(now)
    return found | {"stopped": [False]}


def gains(windows: list[Window], moment: Window, *, stopped: bool, discount: float, cost: float) -> list[float]:
    """What each move brings from then on."""
    rewards = [iou(after, moment) - iou(before, moment) - cost for before, after in itertools.pairwise(windows)]
    if stopped:
        rewards[-1] += iou(windows[-1], moment)
    return [
        sum(discount**later * reward for later, reward in enumerate(rewards[place:])) for place in range(len(rewards))
    ]


def losses(rollouts: list[dict[str, list]], moments: list[Window], *, discount: float, cost: float) -> dict[str, float]:
    """The four parts; all moves of all queries count alike."""
    policy, value, entropy, missed = [], [], [], []
    for own, moment in zip(rollouts, moments, strict=True):
        gained = gains(own["windows"], moment, stopped=own["stopped"][0], discount=discount, cost=cost)
        for each, chance, expected in zip(gained, own["chances"], own["values"], strict=True):
            policy.append(-(each - expected) * math.log(chance))
            value.append((each - expected) ** 2)
        entropy += own["entropies"]
        missed.append(1 - iou(own["windows"][-1], moment))
    parts = {"missed": missed, "policy": policy, "value": value, "entropy": entropy}
    return {name: float(np.mean(values)) for name, values in parts.items()}
