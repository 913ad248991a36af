"""What methods that learn from pairs compute, one pair at a time in plain Python and numpy."""

import numpy as np
from reference.neighbours_reference import (
    Vectors,
    Weights,
    attention,
    bi_lstm,
    layer_norm,
    linear,
    position,
    relu,
    sigmoid,
    softmax,
    standardised,
)
from reference.proposals_reference import iou


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


def chosen(scores: list[float], spans: list[tuple[float, float]], count: int) -> list[int]:
    """SCN's proposals: the best that is left, then without near ones, unless no more than two would stay."""
    left, found = list(range(len(scores))), []
    while left and len(found) < count:
        best = max(left, key=lambda place: scores[place])
        found.append(best)
        left.remove(best)
        far = [place for place in left if iou(spans[place], spans[best]) < 0.65]
        left = far if len(far) > 2 else left
    return found


def rank_loss(scores: list[float], nll: list[float]) -> float:
    """SCN's loss of the scores: the lowest cost has reward 1, the highest 0."""
    order = sorted(nll, reverse=True)
    shares = softmax(scores)
    rewards = [order.index(each) / (len(nll) - 1) for each in nll]
    return -sum(reward * float(np.log(share)) for reward, share in zip(rewards, shares, strict=True)) / len(nll)


def causal_layer(weights: Weights, name: str, xs: Vectors, memory: Vectors | None, heads: int) -> Vectors:
    """A layer of SCN: each item looks at itself and those before, then at the memory, then through a perceptron."""

    def attend(own: str, x: np.ndarray, others: Vectors) -> np.ndarray:
        return attention(weights, f"{name}.{own}", [x], heads, others)[0][0]

    def normalised(number: int, x: np.ndarray) -> np.ndarray:
        return layer_norm(weights, f"{name}.norms.{number}", x)

    rows = [normalised(0, x + attend("own", x, xs[: place + 1])) for place, x in enumerate(xs)]
    if memory is not None:
        rows = [normalised(1, x + attend("other", x, memory)) for x in rows]
    inner = [linear(weights, f"{name}.inner.2", relu(linear(weights, f"{name}.inner.0", x))) for x in rows]
    return [normalised(2, x + y) for x, y in zip(rows, inner, strict=True)]


def logan_rows(weights: Weights, features: np.ndarray, words: Vectors) -> tuple[Vectors, Vectors]:
    """LoGAN's frames with their positions, and its words."""
    frames = [relu(linear(weights, "video_encoder.projection", x)) for x in standardised(weights, features)]
    size = len(frames[0])
    for place, frame in enumerate(frames):
        frame += position(place, size)
    states, _ = bi_lstm(weights, "query_encoder.lstm.lstm", words)
    return frames, [linear(weights, "of_words", state) for state in states]


def logan(weights: Weights, frames: Vectors, words: Vectors, *, passes: int) -> list[float]:
    """The relevance of each frame to the sentence."""

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    def summed(logits: list[float], rows: Vectors) -> np.ndarray:
        return sum(share * row for share, row in zip(softmax([9 * x for x in logits]), rows, strict=True))

    told = []
    for word in words:
        seen = summed([cosine(frame, word) for frame in frames], frames)
        told.append(linear(weights, "graph.of_words", np.concatenate([word, seen])))
    attended, x = [], []
    for frame in frames:
        cosines = [cosine(frame, word) for word in words]
        attended.append(summed(cosines, words))
        x.append(linear(weights, "graph.of_frames", np.concatenate([frame, summed(cosines, told)])))
    for number in range(passes):
        messages = [summed([cosine(one, other) for other in x], x) for one in x]
        both = [np.concatenate(pair) for pair in zip(x, messages, strict=True)]
        x = [one + linear(weights, f"graph.passes.{number}", pair) for one, pair in zip(x, both, strict=True)]
    joint = [linear(weights, "joint", np.concatenate(pair)) for pair in zip(frames, x, strict=True)]
    return [cosine(one, words_of_it) for one, words_of_it in zip(joint, attended, strict=True)]


def logan_average(relevance: list[float], parts: list[float] | None = None) -> float:
    """Average in which the most relevant frames have most weight; frames count by their parts."""
    parts = parts or [1.0] * len(relevance)
    total = sum(part * np.exp(6 * value) for part, value in zip(parts, relevance, strict=True))
    return float(np.log(total / sum(parts)) / 6)


def logan_windows() -> list[tuple[float, float]]:
    """Windows of a sixth, a third, a half and two thirds, a third of their length apart, in eighteenths."""
    return [(at / 18, (at + size) / 18) for size in (3, 6, 9, 12) for at in range(0, 18 - size + 1, size // 3)]
