"""CI-MHA in plain numpy, one query and one video at a time, equation by equation, loops and all.

Written from the paper, without looking at how `vmr.model` computes; only the names of its weights are shared,
and the parts that the papers share with it. `weights` is a dictionary of arrays, named as in the checkpoint.
"""

import math

import numpy as np
from reference.neighbours_reference import Vectors, Weights, attention, bi_lstm, layer_norm, linear, sigmoid, softmax
from reference.proposals_reference import iou


def feed_forward(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """Two layers with a rectifier between them; the second is number 3, after rectifier and dropout."""
    return linear(weights, f"{name}.3", np.maximum(linear(weights, f"{name}.0", x), 0.0))


def normalized_feed_forward(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    """The same with a layer normalisation (Ba et al. 2016) at its end, which is number 4."""
    return layer_norm(weights, f"{name}.4", feed_forward(weights, name, x))


def fuse(weights: Weights, q_hat: Vectors, v_hat: Vectors, *, heads: int, alignment: str, method: str) -> Vectors:
    """Eqs. 7 to 9."""
    if alignment == "swap" and method == "mha":
        return attention(weights, "fusion.steps_to_words", v_hat, heads, q_hat)[0]
    if alignment == "pad":
        # Sec. 2.4: both embeddings have N rows. The words come first, zeros after them.
        rows = (q_hat + [np.zeros_like(q_hat[0])] * len(v_hat))[: len(v_hat)]
        v_q, _ = attention(weights, "fusion.words_to_steps", rows, heads, v_hat)  # Eq. 7
    else:
        by_word, seven = attention(weights, "fusion.words_to_steps", q_hat, heads, v_hat)  # Eq. 7
        if alignment in ("swap", "attention"):
            back = np.array([[seven[w, t] / seven[:, t].sum() for w in range(len(q_hat))] for t in range(len(v_hat))])
        else:
            _, back = attention(weights, "fusion.steps_to_words", v_hat, heads, q_hat)
        v_q = [sum(back[t, w] * by_word[w] for w in range(len(q_hat))) for t in range(len(v_hat))]
    if method == "mha":
        return v_q
    q_v, _ = attention(weights, "fusion.steps_to_words", v_hat, heads, q_hat)  # Eq. 8
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
    q_0, _ = bi_lstm(weights, "query_encoder.lstm.lstm", vectors)  # Eq. 2
    attended, _ = attention(weights, "query_interaction.attention", q_0, heads)
    q = [a + b for a, b in zip(attended, q_0, strict=True)]  # Eq. 3
    mean, scale = weights["video_encoder.mean"], weights["video_encoder.scale"]
    v_0 = [linear(weights, "video_encoder.projection", (x - mean) / scale) for x in features]  # Eq. 1
    attended, _ = attention(weights, "video_interaction.attention", v_0, heads)
    v = [a + b for a, b in zip(attended, v_0, strict=True)]  # Eq. 4
    positions = weights["positions.embedding"]
    v_hat = [normalized_feed_forward(weights, "video_projection", x) + positions[t] for t, x in enumerate(v)]  # Eq. 5
    q_hat = [normalized_feed_forward(weights, "query_projection", x) for x in q]  # Eq. 6
    s = fuse(weights, q_hat, v_hat, heads=heads, alignment=alignment, method=method)
    h_start, _ = bi_lstm(weights, "boundaries.start_lstm.lstm", s)  # Eq. 10
    h_end, _ = bi_lstm(weights, "boundaries.end_lstm.lstm", h_start)  # Eq. 11
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
