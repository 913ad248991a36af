"""What methods that learn from pairs compute, one pair at a time in plain Python and numpy."""

import numpy as np
from reference.neighbours_reference import Vectors, Weights, linear, sigmoid, softmax, standardised


def hinges(scores: list[list[float]], videos: list[int], margin: float) -> float:
    """Mean over all wrong pairs, each against the true one of its row and of its column."""
    found = []
    for i, row in enumerate(scores):
        for j, score in enumerate(row):
            if videos[i] != videos[j]:
                found += [max(0.0, margin - scores[i][i] + score), max(0.0, margin - scores[j][j] + score)]
    return sum(found) / len(found) if found else 0.0


def gru(weights: Weights, name: str, xs: Vectors) -> np.ndarray:
    """The last state; gates in the order reset, update, new."""
    state = np.zeros(weights[f"{name}.weight_hh_l0"].shape[1])
    for x in xs:
        r, z, n = np.split(weights[f"{name}.weight_ih_l0"] @ x + weights[f"{name}.bias_ih_l0"], 3)
        hr, hz, hn = np.split(weights[f"{name}.weight_hh_l0"] @ state + weights[f"{name}.bias_hh_l0"], 3)
        r, z = sigmoid(r + hr), sigmoid(z + hz)
        state = (1 - z) * np.tanh(n + r * hn) + z * state
    return state


def tga(weights: Weights, features: np.ndarray, words: Vectors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of six windows and three; the sentence; and the video summed by it."""
    windows = []
    for kind in (6, 3):
        for b in range(kind):
            first = b * len(features) // kind
            rows = standardised(weights, features[first : max((b + 1) * len(features) // kind, first + 1)])
            windows.append(linear(weights, "video_encoder.projection", np.mean(rows, axis=0)))
    sentence = gru(weights, "sentence_encoder.gru", words)
    sentence = sentence / np.linalg.norm(sentence)
    logits = [float(window @ sentence) for window in windows]
    video = linear(weights, "joint", sum(w * x for w, x in zip(softmax(logits), windows, strict=True)))
    return np.array(logits), sentence, video / np.linalg.norm(video)
