"""Batches and targets that tests of networks share."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vmr.methods.build import build_network
from vmr.methods.catalogue import METHODS
from vmr.model.batch import Batch, PairTargets, Targets
from vmr.model.network import MomentNetwork
from vmr.model.prediction import Prediction

# Query-blind methods are the networks of others; one of them stands for all.
ONE_OF_EACH = {name: own for name, own in METHODS.items() if own.exchanged != "query" or name == "ci_mha_query_blind"}
SIZES = {
    "video_dim": 10, "word_dim": 5, "vocabulary": 9, "max_steps": 20, "hidden": 8, "query_hidden": 4, "heads": 2,
    "dropout": 0.2, "lstm_dropout": 0.5,
}  # fmt: skip


def make_network(method: str, *, seed: int = 0, **sizes: object):
    """A network in double precision whose biases and positions count."""
    torch.manual_seed(seed)
    network = build_network(method=method, **{**SIZES, **sizes}).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():  # Biases and positions begin near zero.
            parameter.add_(0.3 * torch.randn_like(parameter))
    network.fit_features([torch.randn(9, SIZES["video_dim"]) * torch.arange(1, 11) + 2])
    return network


def make_batch(steps: list[int], words: list[int], *, extra: int = 0, seed: int = 0) -> Batch:
    """Padded random inputs, a video for each query; `extra` adds padding that is not needed, up to 20 steps."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.zeros(len(steps), min(max(steps) + extra, SIZES["max_steps"]), SIZES["video_dim"]).double()
    vectors = torch.zeros(len(words), max(words) + extra, SIZES["word_dim"]).double()
    unknown = torch.zeros(vectors.shape[:2], dtype=torch.bool)
    tokens = torch.zeros(vectors.shape[:2], dtype=torch.int64)
    for row, (n, m) in enumerate(zip(steps, words, strict=True)):
        features[row, :n] = torch.randn(n, features.shape[2], generator=generator, dtype=torch.float64)
        vectors[row, :m] = torch.randn(m, vectors.shape[2], generator=generator, dtype=torch.float64)
        unknown[row, :m] = torch.rand(m, generator=generator) < 0.3
        tokens[row, :m] = torch.arange(m) % (SIZES["vocabulary"] - 1) + 1
    vectors[unknown], tokens[unknown] = 0, 0
    counts = torch.tensor(steps), torch.tensor(words)
    return Batch(features, torch.arange(len(steps)), counts[0], vectors, unknown, counts[1], tokens)


def take(batch: Batch, rows: list[int]) -> Batch:
    """The queries of the given rows as their own batch, without superfluous padding."""
    longest, most = int(batch.step_counts[rows].max()), int(batch.word_counts[rows].max())
    return Batch(
        features=batch.features[batch.video[rows], :longest],
        video=torch.arange(len(rows)),
        step_counts=batch.step_counts[rows],
        words=batch.words[rows, :most],
        unknown_mask=batch.unknown_mask[rows, :most],
        word_counts=batch.word_counts[rows],
        tokens=batch.tokens[rows, :most],
    )


def arrays_of(network: MomentNetwork) -> dict[str, np.ndarray]:
    """The weights, as the slow twins take them."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def inputs_of(network: MomentNetwork, batch: Batch, row: int, *, unknown: str = "query_encoder") -> tuple:
    """Features and words of a query, as the slow twins take them: for unknown words, the vector that is learned."""
    n, m = int(batch.step_counts[row]), int(batch.word_counts[row])
    vector, is_unknown = arrays_of(network)[f"{unknown}.unknown"], batch.unknown_mask[row, :m, None].numpy()
    return batch.features[row, :n].numpy(), list(np.where(is_unknown, vector, batch.words[row, :m].numpy()))


def single(batch: Batch) -> Batch:
    """The batch in single precision."""
    return replace(batch, features=batch.features.float(), words=batch.words.float())


def targets_of(batch: Batch, labels: Tensor, share: Tensor | None = None, *, method: str = "ci_mha") -> PairTargets:
    """Targets as the method's training gets them; shares of equal steps by default. The next queries are negatives."""
    size, entry = len(labels), METHODS[method]
    negatives = (torch.arange(size)[:, None] + 1 + torch.arange(entry.negatives)) % size
    pairs = {"video": batch.video, "step_counts": batch.step_counts, "tokens": batch.tokens, "negatives": negatives}
    if entry.supervision == "pairs":
        return PairTargets(**pairs)
    if share is None:
        share = (labels + torch.tensor([0, 1])) / batch.step_counts[:, None]
    return Targets(**pairs, labels=labels, share=share)


def overfitting(method: str, **own: object) -> Iterator[tuple[MomentNetwork, Batch, PairTargets]]:
    """A network after 0, 25, ... 200 steps on four samples; two share a video, so only the words tell them apart."""
    torch.manual_seed(0)
    sizes = {**SIZES, "hidden": 32, "query_hidden": 16, "dropout": 0.0, "lstm_dropout": 0.0}
    network = build_network(method=method, **sizes, **own)
    batch = single(make_batch([9, 9, 12, 6], [4, 6, 5, 3]))
    batch.features[1] = batch.features[0]
    targets = targets_of(batch, torch.tensor([[1, 3], [5, 8], [0, 11], [4, 4]]), method=method)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    # Ends that are regressed swing by a third of a step at this rate, on each processor elsewhere; smaller steps rest.
    resting = torch.optim.lr_scheduler.MultiStepLR(optimizer, [150], 0.1)
    for step in range(201):
        if step % 25 == 0:
            yield network.eval(), batch, targets
        network.train()
        optimizer.zero_grad()
        network.losses(network(batch), targets).total.backward()
        optimizer.step()
        resting.step()


def outputs(prediction: Prediction, row: int, steps: int) -> Tensor:
    """All that a prediction says of a query, as one row of numbers."""
    edges = torch.arange(steps + 1.0, dtype=torch.float64)[None]
    one = prediction.row(row)
    curves = [values[0, :steps] for values in one.curves().values()]
    size = next(iter(one.curves().values())).shape[1]
    begin, end = torch.zeros(1, size).double(), torch.zeros(1, size).double()
    begin[:, :steps], end[:, :steps] = edges[:, :-1], edges[:, 1:]
    ranked = one.ranked(begin, end, top=3)
    kept = ranked.valid_mask[0]
    return torch.cat([*curves, ranked.span_sec[0, kept].flatten(), ranked.score[0, kept]])
