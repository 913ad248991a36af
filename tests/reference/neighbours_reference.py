"""ExCL, VSLNet and LGI in plain numpy, one query and one video at a time, loops and all.

Written from the papers' equations, without looking at how `vmr.model` computes; only the names of its weights are
shared. `weights` is a dictionary of arrays, named as in the checkpoint; `words` are vectors, unknown ones replaced.
"""

import math

import numpy as np

Weights = dict[str, np.ndarray]
Vectors = list[np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def softmax(x: list[float]) -> np.ndarray:
    numbers = np.exp(np.array(x) - max(x))
    return numbers / numbers.sum()


def linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    result = weights[f"{name}.weight"] @ x
    return result + weights[f"{name}.bias"] if f"{name}.bias" in weights else result


def perceptron(weights: Weights, name: str, x: np.ndarray) -> float:
    """Two layers, the second being number 3 (after rectifier and dropout)."""
    return float(linear(weights, f"{name}.3", relu(linear(weights, f"{name}.0", x)))[0])


def standardised(weights: Weights, features: np.ndarray) -> Vectors:
    return [(x - weights["video_encoder.mean"]) / weights["video_encoder.scale"] for x in features]


def cell(gates: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """State and memory after gates in the order input, forget, cell, output (Hochreiter and Schmidhuber 1997)."""
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm(weights: Weights, name: str, suffix: str, xs: Vectors) -> Vectors:
    """States of one direction; zeros to begin with."""
    hidden = weights[f"{name}.weight_hh_{suffix}"].shape[1]
    h, c = np.zeros(hidden), np.zeros(hidden)
    states = []
    for x in xs:
        gates = weights[f"{name}.weight_ih_{suffix}"] @ x + weights[f"{name}.bias_ih_{suffix}"]
        h, c = cell(gates + weights[f"{name}.weight_hh_{suffix}"] @ h + weights[f"{name}.bias_hh_{suffix}"], c)
        states.append(h)
    return states


def bi_lstm(weights: Weights, name: str, xs: Vectors, *, layers: int = 1) -> tuple[Vectors, np.ndarray]:
    """States of both directions of the last layer; and what both say at their ends."""
    for layer in range(layers):
        forward = lstm(weights, name, f"l{layer}", xs)
        backward = lstm(weights, name, f"l{layer}_reverse", xs[::-1])
        last = np.concatenate([forward[-1], backward[-1]])
        xs = [np.concatenate(pair) for pair in zip(forward, backward[::-1], strict=True)]
    return xs, last


def attention(
    weights: Weights, name: str, items: Vectors, heads: int, memory: Vectors | None = None
) -> tuple[Vectors, np.ndarray]:
    """Attention with several heads to a memory or each other, head by head and item by item; also its mean weights."""
    width = weights[f"{name}.query.weight"].shape[0]
    size = width // heads
    memory = items if memory is None else memory
    results, mean_weights = [], np.zeros((len(items), len(memory)))
    for row, item in enumerate(items):
        query, parts = linear(weights, f"{name}.query", item), []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            both = [linear(weights, f"{name}.key_value", other) for other in memory]
            share = softmax([query[own] @ kv[:width][own] / math.sqrt(size) for kv in both])
            mean_weights[row] += share / heads
            parts.append(sum(p * kv[width:][own] for p, kv in zip(share, both, strict=True)))
        results.append(linear(weights, f"{name}.output", np.concatenate(parts)))
    return results, mean_weights


def boundaries(start: list[float], end: list[float]) -> dict[str, np.ndarray]:
    return {"start": softmax(start), "end": softmax(end)}


def excl(weights: Weights, features: np.ndarray, words: Vectors) -> dict[str, np.ndarray]:
    """Ghosh et al. 2019, Sec. 3, with video LSTM and tied LSTM."""
    _, sentence = bi_lstm(weights, "query_encoder.lstm.lstm", words)
    video, _ = bi_lstm(weights, "video_lstm.lstm", standardised(weights, features))
    fused = [np.concatenate([v, sentence]) for v in video]
    tied, _ = bi_lstm(weights, "span_lstm.lstm", fused)
    both = [np.concatenate(pair) for pair in zip(tied, fused, strict=True)]
    return boundaries(*([perceptron(weights, name, x) for x in both] for name in ("start_mlp", "end_mlp")))


def layer_norm(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    standard = (x - x.mean()) / math.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return standard * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def position(t: int, dim: int) -> np.ndarray:
    """Sines, then cosines, the wavelengths going up to 20,000 pi."""
    half = (dim + 1) // 2
    angles = [t / 10_000 ** (k / max(half - 1, 1)) for k in range(half)]
    return np.array([math.sin(a) for a in angles] + [math.cos(a) for a in angles])[:dim]


def vslnet_encoder(weights: Weights, items: Vectors, *, heads: int, layers: int) -> Vectors:
    xs = [x + position(t, len(x)) for t, x in enumerate(items)]
    for layer in range(layers):
        kernel = weights[f"encoder.convolutions.{layer}.depthwise.weight"][:, 0]  # (numbers, steps it sees)
        normed = [layer_norm(weights, f"encoder.norms.{layer}", x) for x in xs]
        reach = kernel.shape[1] // 2
        convolved = []
        for t in range(len(xs)):
            total = np.zeros_like(xs[0])
            for k in range(kernel.shape[1]):
                if 0 <= t + k - reach < len(xs):
                    total = total + kernel[:, k] * normed[t + k - reach]
            convolved.append(relu(linear(weights, f"encoder.convolutions.{layer}.pointwise", total)))
        xs = [x + y for x, y in zip(xs, convolved, strict=True)]
    attended, _ = attention(
        weights, "encoder.attention", [layer_norm(weights, "encoder.attention_norm", x) for x in xs], heads
    )
    xs = [x + y for x, y in zip(xs, attended, strict=True)]
    return [x + _fed_forward(weights, layer_norm(weights, "encoder.output_norm", x)) for x in xs]


def _fed_forward(weights: Weights, x: np.ndarray) -> np.ndarray:
    return linear(weights, "encoder.output.3", relu(linear(weights, "encoder.output.0", x)))


def context_query_attention(weights: Weights, name: str, steps: Vectors, words: Vectors) -> Vectors:
    """Similarities pair by pair; S_r over the words, S_c over the steps; [V, A, V * A, V * B]."""
    w = np.concatenate(
        [weights[f"{name}.of_steps.weight"][0], weights[f"{name}.of_words.weight"][0], weights[f"{name}.of_products"]]
    )
    similarity = [[float(w @ np.concatenate([v, q, v * q])) for q in words] for v in steps]
    over_words = [softmax(row) for row in similarity]
    over_steps = [softmax([similarity[t][j] for t in range(len(steps))]) for j in range(len(words))]
    results = []
    for t, v in enumerate(steps):
        a, b = np.zeros_like(v), np.zeros_like(v)
        for j, q in enumerate(words):
            a = a + over_words[t][j] * q
            for other, u in enumerate(steps):
                b = b + over_words[t][j] * over_steps[j][other] * u
        results.append(linear(weights, f"{name}.output", np.concatenate([v, a, v * a, v * b])))
    return results


def vslnet(
    weights: Weights, features: np.ndarray, words: Vectors, *, heads: int, layers: int = 4
) -> dict[str, np.ndarray]:
    """Zhang et al. 2020, Sec. 3; `inside` are the highlighting scores."""
    video = [linear(weights, "video_encoder.projection", x) for x in standardised(weights, features)]
    steps = vslnet_encoder(weights, video, heads=heads, layers=layers)
    query = [linear(weights, "word_projection.1", x) for x in words]
    query = vslnet_encoder(weights, query, heads=heads, layers=layers)
    fused = context_query_attention(weights, "attention", steps, query)
    share = softmax([float(weights["pooling.score.weight"][0] @ q) for q in query])
    sentence = sum(p * q for p, q in zip(share, query, strict=True))
    fused = [np.concatenate([x, sentence]) for x in fused]
    highlight = [sigmoid(linear(weights, "highlight", x))[0] for x in fused]
    lit = [h * x for h, x in zip(highlight, fused, strict=True)]
    h_start = lstm(weights, "start_lstm", "l0", lit)
    h_end = lstm(weights, "end_lstm", "l0", h_start)
    start, end = (
        [perceptron(weights, name, np.concatenate([h, x])) for h, x in zip(states, lit, strict=True)]
        for name, states in (("start_mlp", h_start), ("end_mlp", h_end))
    )
    return boundaries(start, end) | {"inside": np.array(highlight)}


def vslnet_losses(prediction: dict[str, np.ndarray], first: int, last: int) -> tuple[float, float]:
    """NLL of start plus end; and highlighting, the moment longer by a tenth of itself on either side."""
    boundary = -math.log(prediction["start"][first]) - math.log(prediction["end"][last])
    extra = math.floor(0.1 * (last - first + 1) + 0.5)
    each = [
        -math.log(p) if first - extra <= t <= last + extra else -math.log(1.0 - p)
        for t, p in enumerate(prediction["inside"])
    ]
    return boundary, sum(each) / len(each)


def lgi(
    weights: Weights, features: np.ndarray, words: Vectors, *, heads: int, phrases: int = 3, blocks: int = 2
) -> dict[str, np.ndarray]:
    """Mun et al. 2020, Sec. 3."""
    encoded, sentence = bi_lstm(weights, "query_encoder.lstm.lstm", words, layers=2)
    found, shares = [], []
    before = np.zeros_like(sentence)
    for n in range(phrases):  # Sequential query attention
        guide = relu(
            linear(
                weights, "phrases.guide", np.concatenate([linear(weights, f"phrases.sentence.{n}", sentence), before])
            )
        )
        scores = [
            float(weights["phrases.score.weight"][0] @ np.tanh(
                linear(weights, "phrases.of_guide", guide) + linear(weights, "phrases.of_words", w)))
            for w in encoded
        ]  # fmt: skip
        share = softmax(scores)
        before = sum(p * w for p, w in zip(share, encoded, strict=True))
        found.append(before)
        shares.append(share)
    video = [relu(linear(weights, "video_encoder.projection", x)) for x in standardised(weights, features)]
    video = [v + weights["positions.embedding"][t] for t, v in enumerate(video)]
    importance = softmax([perceptron(weights, "phrase_weight", e) for e in found])
    context = [np.zeros_like(video[0]) for _ in video]
    for n, e in enumerate(found):
        met = [
            linear(weights, f"fusion.output.{n}",
                   linear(weights, f"fusion.of_steps.{n}", v) * linear(weights, f"fusion.of_phrases.{n}", e))
            for v in video
        ]  # fmt: skip
        inner, outer = "local_context.norms.0", "local_context.norms.1"
        inside = [relu(layer_norm(weights, inner, x)) for x in convolution(weights, "local_context.first", met)]
        outside = [layer_norm(weights, outer, x) for x in convolution(weights, "local_context.second", inside)]
        context = [c + importance[n] * relu(x + y) for c, x, y in zip(context, met, outside, strict=True)]
    for block in range(blocks):
        attended, _ = attention(weights, f"global_context.{block}.attention", context, heads)
        context = [x + y for x, y in zip(context, attended, strict=True)]
    weight = softmax([perceptron(weights, "step_weight", x) for x in context])
    summary = sum(p * x for p, x in zip(weight, context, strict=True))
    span = linear(weights, "regression.2", relu(linear(weights, "regression.0", summary)))
    return {"span": span, "attention": weight, "phrases": np.array(shares)}


def convolution(weights: Weights, name: str, xs: Vectors) -> Vectors:
    """Over time, zeros before the first and after the last."""
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]  # (out, in, steps it sees)
    reach = kernel.shape[2] // 2
    results = []
    for t in range(len(xs)):
        total = bias.copy()
        for k in range(kernel.shape[2]):
            if 0 <= t + k - reach < len(xs):
                total = total + kernel[:, :, k] @ xs[t + k - reach]
        results.append(total)
    return results


def lgi_losses(
    prediction: dict[str, np.ndarray], share: tuple[float, float], first: int, last: int
) -> tuple[float, float, float]:
    """Regression, temporal attention guidance and distinct query attention (lambda 0.3) of one query."""
    regression = 0.0
    for found, wanted in zip(prediction["span"], share, strict=True):
        error = abs(found - wanted)
        regression += 0.5 * error**2 if error < 1 else error - 0.5
    guidance = -sum(math.log(prediction["attention"][t]) for t in range(first, last + 1)) / (last - first + 1)
    rows = prediction["phrases"]
    distinct = 0.0
    for i in range(len(rows)):
        for j in range(len(rows)):
            distinct += (float(rows[i] @ rows[j]) - (0.3 if i == j else 0.0)) ** 2
    return regression, guidance, distinct
