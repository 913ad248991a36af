"""CI-MHA in plain numpy, one query and one video at a time, equation by equation, loops and all.

Written from the paper, without looking at how `vmr.model` computes; only the names of its weights are shared.
`weights` is a dictionary of arrays, named as in the checkpoint.
"""

import math

import numpy as np

Weights = dict[str, np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    numbers = np.exp(x - x.max())
    return numbers / numbers.sum()


def linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def feed_forward(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """Two layers with a rectifier between them; the second is number 3, after rectifier and dropout."""
    return linear(weights, f"{name}.3", np.maximum(linear(weights, f"{name}.0", x), 0.0))


def normalized_feed_forward(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """The same with a layer normalisation (Ba et al. 2016) at its end, which is number 4."""
    y = feed_forward(weights, name, x)
    standard = (y - y.mean()) / math.sqrt(((y - y.mean()) ** 2).mean() + 1e-5)
    return standard * weights[f"{name}.4.weight"] + weights[f"{name}.4.bias"]


def lstm_one_way(weights: Weights, name: str, suffix: str, xs: list[np.ndarray]) -> list[np.ndarray]:
    """Hochreiter and Schmidhuber's cell; gates in the order input, forget, cell, output; zeros to begin with."""
    hidden = weights[f"{name}.weight_hh_l0{suffix}"].shape[1]
    h, c = np.zeros(hidden), np.zeros(hidden)
    states = []
    for x in xs:
        gates = (
            weights[f"{name}.weight_ih_l0{suffix}"] @ x
            + weights[f"{name}.bias_ih_l0{suffix}"]
            + weights[f"{name}.weight_hh_l0{suffix}"] @ h
            + weights[f"{name}.bias_hh_l0{suffix}"]
        )
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return states


def bi_lstm(weights: Weights, name: str, xs: list[np.ndarray]) -> list[np.ndarray]:
    forward = lstm_one_way(weights, f"{name}.lstm", "", xs)
    backward = lstm_one_way(weights, f"{name}.lstm", "_reverse", xs[::-1])[::-1]
    return [np.concatenate(pair) for pair in zip(forward, backward, strict=True)]


def attention(
    weights: Weights, name: str, queries: list[np.ndarray], memory: list[np.ndarray], heads: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """MHA, head by head and query by query; also the weights, mean over the heads."""
    width = weights[f"{name}.query.weight"].shape[0]
    size = width // heads
    results, mean_weights = [], np.zeros((len(queries), len(memory)))
    for row, query in enumerate(queries):
        q = linear(weights, f"{name}.query", query)
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            scores, values = [], []
            for item in memory:
                key_value = linear(weights, f"{name}.key_value", item)
                key, value = key_value[:width], key_value[width:]
                scores.append(q[own] @ key[own] / math.sqrt(size))
                values.append(value[own])
            probability = softmax(np.array(scores))
            mean_weights[row] += probability / heads
            parts.append(sum(p * value for p, value in zip(probability, values, strict=True)))
        results.append(linear(weights, f"{name}.output", np.concatenate(parts)))
    return results, mean_weights


def fuse(
    weights: Weights, q_hat: list[np.ndarray], v_hat: list[np.ndarray], *, heads: int, alignment: str, method: str
) -> list[np.ndarray]:
    """Eqs. 7 to 9."""
    if alignment == "swap" and method == "mha":
        return attention(weights, "fusion.steps_to_words", v_hat, q_hat, heads)[0]
    if alignment == "pad":
        # Sec. 2.4: both embeddings have N rows. The words come first, zeros after them.
        rows = (q_hat + [np.zeros_like(q_hat[0])] * len(v_hat))[: len(v_hat)]
        v_q, _ = attention(weights, "fusion.words_to_steps", rows, v_hat, heads)  # Eq. 7
    else:
        by_word, seven = attention(weights, "fusion.words_to_steps", q_hat, v_hat, heads)  # Eq. 7
        if alignment in ("swap", "attention"):
            back = np.array([[seven[w, t] / seven[:, t].sum() for w in range(len(q_hat))] for t in range(len(v_hat))])
        else:
            _, back = attention(weights, "fusion.steps_to_words", v_hat, q_hat, heads)
        v_q = [sum(back[t, w] * by_word[w] for w in range(len(q_hat))) for t in range(len(v_hat))]
    if method == "mha":
        return v_q
    q_v, _ = attention(weights, "fusion.steps_to_words", v_hat, q_hat, heads)  # Eq. 8
    return [np.concatenate(pair) for pair in zip(v_q, q_v, strict=True)]  # Eq. 9


def predict(
    weights: Weights,
    features: np.ndarray,
    words: np.ndarray,
    unknown: list[bool],
    *,
    heads: int,
    alignment: str,
    method: str,
) -> dict[str, np.ndarray]:
    """P_start, P_end and P_in of one query on one video.

    Args:
        weights: of the network.
        features: (steps, D_v).
        words: (words, E).
        unknown: which words are unknown.
        heads: of every attention.
        alignment: swap, attention, cross or pad.
        method: mha, ci_mha_wo_ms or ci_mha.
    """
    vectors = [
        weights["query_encoder.unknown"] if is_unknown else word
        for word, is_unknown in zip(words, unknown, strict=True)
    ]
    q_0 = bi_lstm(weights, "query_encoder.lstm", vectors)  # Eq. 2
    attended, _ = attention(weights, "query_interaction.attention", q_0, q_0, heads)
    q = [a + b for a, b in zip(attended, q_0, strict=True)]  # Eq. 3
    mean, scale = weights["video_encoder.mean"], weights["video_encoder.scale"]
    v_0 = [linear(weights, "video_encoder.projection", (x - mean) / scale) for x in features]  # Eq. 1
    attended, _ = attention(weights, "video_interaction.attention", v_0, v_0, heads)
    v = [a + b for a, b in zip(attended, v_0, strict=True)]  # Eq. 4
    positions = weights["positions.embedding"]
    v_hat = [normalized_feed_forward(weights, "video_projection", x) + positions[t] for t, x in enumerate(v)]  # Eq. 5
    q_hat = [normalized_feed_forward(weights, "query_projection", x) for x in q]  # Eq. 6
    s = fuse(weights, q_hat, v_hat, heads=heads, alignment=alignment, method=method)
    h_start = bi_lstm(weights, "boundaries.start_lstm", s)  # Eq. 10
    h_end = bi_lstm(weights, "boundaries.end_lstm", h_start)  # Eq. 11
    c_start, c_end = (
        np.array(
            [
                feed_forward(weights, f"boundaries.{name}_mlp", np.concatenate([h, x]))[0]
                for h, x in zip(hs, s, strict=True)
            ]
        )
        for name, hs in (("start", h_start), ("end", h_end))
    )  # Eqs. 12, 13
    result = {"start": softmax(c_start), "end": softmax(c_end)}  # Eq. 14
    if method != "ci_mha_wo_ms":
        inside = np.array([feed_forward(weights, "segmentation.mlp", x)[0] for x in s])
        result["inside"] = sigmoid(inside)  # Eq. 15; Eq. 16 is one minus this
    return result


def losses(prediction: dict[str, np.ndarray], first: int, last: int) -> tuple[float, float]:
    """NLL of start and end, and binary cross entropy of the steps, of one query."""
    boundary = -math.log(prediction["start"][first]) - math.log(prediction["end"][last])
    if "inside" not in prediction:
        return boundary, 0.0
    each = [-math.log(p) if first <= t <= last else -math.log(1.0 - p) for t, p in enumerate(prediction["inside"])]
    return boundary, sum(each) / len(each)


def iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Temporal IoU of two spans of positive length."""
    overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return overlap / ((a[1] - a[0]) + (b[1] - b[0]) - overlap)


def ranked_spans(
    p_start: np.ndarray, p_end: np.ndarray, start_sec: np.ndarray, end_sec: np.ndarray, *, top: int, threshold: float
) -> list[tuple[int, int]]:
    """All pairs start <= end by falling product, each kept unless it overlaps a kept one too much."""
    pairs = [(i, j) for i in range(len(p_start)) for j in range(i, len(p_end))]
    pairs.sort(key=lambda pair: (-p_start[pair[0]] * p_end[pair[1]], pair))
    kept: list[tuple[int, int]] = []
    for i, j in pairs:
        span = (start_sec[i], end_sec[j])
        if len(kept) < top and all(iou(span, (start_sec[a], end_sec[b])) <= threshold for a, b in kept):
            kept.append((i, j))
    return kept
