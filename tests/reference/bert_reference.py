"""BERT's encoder in plain NumPy, one sentence and one head at a time (Devlin et al., NAACL 2019)."""

import math

import numpy as np


def sentence_vector(weights: dict[str, np.ndarray], ids: list[int], *, heads: int) -> np.ndarray:
    """The mean of the last layer's rows, of length 1."""
    mean = sentence_rows(weights, ids, heads=heads).mean(axis=0)
    return mean / np.linalg.norm(mean)


def sentence_rows(weights: dict[str, np.ndarray], ids: list[int], *, heads: int) -> np.ndarray:
    """The last layer's rows."""
    norm = lambda rows, name: _norm(rows, weights[f"{name}.weight"], weights[f"{name}.bias"])  # noqa: E731
    linear = lambda rows, name: rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]  # noqa: E731
    words, places, kinds = (
        weights[f"embeddings.{name}_embeddings.weight"].astype(np.float64)
        for name in ("word", "position", "token_type")
    )
    rows = norm(
        np.stack([words[word] + places[place] + kinds[0] for place, word in enumerate(ids)]), "embeddings.LayerNorm"
    )
    layer = 0
    while f"encoder.layer.{layer}.output.dense.weight" in weights:
        own = f"encoder.layer.{layer}"
        query, key, value = (linear(rows, f"{own}.attention.self.{name}") for name in ("query", "key", "value"))
        width = rows.shape[1] // heads
        seen = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            scores = np.exp(query[:, part] @ key[:, part].T / math.sqrt(width))
            seen.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, part])
        rows = norm(
            rows + linear(np.concatenate(seen, axis=1), f"{own}.attention.output.dense"),
            f"{own}.attention.output.LayerNorm",
        )
        hidden = linear(rows, f"{own}.intermediate.dense")
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        rows = norm(rows + linear(hidden, f"{own}.output.dense"), f"{own}.output.LayerNorm")
        layer += 1
    return rows


def _norm(rows: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    spread = np.sqrt(rows.var(axis=1, keepdims=True) + 1e-12)
    return (rows - rows.mean(axis=1, keepdims=True)) / spread * scale + shift
