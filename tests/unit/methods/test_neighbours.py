"""ExCL, VSLNet and LGI against independent numpy versions, and what must not change their answers."""

from collections import Counter

import numpy as np
import pytest
import torch
from reference import neighbours_reference as reference
from torch import Tensor

from vmr.methods.build import METHODS, build_network, exchanged_input, network_with_weights, uses_alignment
from vmr.methods.ci_mha import CiMha
from vmr.model.dropout import Dropout
from vmr.model.losses import Targets
from vmr.model.prediction import Prediction, SpanPrediction

SIZES = {"video_dim": 10, "word_dim": 5, "max_steps": 20, "hidden": 8, "query_hidden": 3, "heads": 2}
NEIGHBOURS = ["excl", "vslnet", "lgi"]
# Among them: one step, one word, more words than steps, more steps than LGI's convolutions see.
STEPS, WORDS = [7, 1, 20, 3], [4, 2, 1, 6]
LABELS = torch.tensor([[2, 5], [0, 0], [0, 18], [1, 1]])
SHARE = torch.tensor([[0.3, 0.8], [0.0, 1.0], [0.01, 0.9], [0.4, 0.6]])


def make_network(method: str, *, seed: int = 0, **sizes: float):
    torch.manual_seed(seed)
    network = build_network(method=method, **{**SIZES, **sizes}).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():  # Biases and positions begin near zero: make them count.
            parameter.add_(0.3 * torch.randn_like(parameter))
    network.fit_features([torch.randn(9, SIZES["video_dim"]) * torch.arange(1, 11) + 2])
    return network


def make_inputs(steps: list[int], words: list[int], *, extra: int = 0) -> dict[str, Tensor]:
    """Padded random inputs; `extra` adds padding that is not needed, up to 20 steps."""
    generator = torch.Generator().manual_seed(0)
    features = torch.zeros(len(steps), min(max(steps) + extra, 20), 10, dtype=torch.float64)
    vectors = torch.zeros(len(words), max(words) + extra, 5, dtype=torch.float64)
    unknown = torch.zeros(vectors.shape[:2], dtype=torch.bool)
    for row, (n, m) in enumerate(zip(steps, words, strict=True)):
        features[row, :n] = torch.randn(n, 10, generator=generator, dtype=torch.float64)
        vectors[row, :m] = torch.randn(m, 5, generator=generator, dtype=torch.float64)
        unknown[row, :m] = torch.rand(m, generator=generator) < 0.3
    vectors[unknown] = 0
    return {
        "features": features, "step_counts": torch.tensor(steps), "words": vectors, "unknown_mask": unknown,
        "word_counts": torch.tensor(words),
    }  # fmt: skip


def take(inputs: dict[str, Tensor], rows: list[int]) -> dict[str, Tensor]:
    """The items of the given rows as their own batch, without superfluous padding."""
    taken = {name: tensor[rows] for name, tensor in inputs.items()}
    taken["features"] = taken["features"][:, : int(taken["step_counts"].max())]
    longest = int(taken["word_counts"].max())
    taken["words"], taken["unknown_mask"] = taken["words"][:, :longest], taken["unknown_mask"][:, :longest]
    return taken


def outputs(prediction: Prediction, row: int, steps: int) -> Tensor:
    if isinstance(prediction, SpanPrediction):
        return torch.cat([prediction.span[row], prediction.attention[row, :steps]])
    parts = [prediction.start, prediction.end] + ([] if prediction.inside is None else [prediction.inside])
    return torch.cat([part[row, :steps] for part in parts])


def expected_of(method: str, network, inputs: dict[str, Tensor], row: int) -> dict[str, np.ndarray]:
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    n, m = STEPS[row], WORDS[row]
    unknown = weights["words.unknown" if method == "vslnet" else "query_encoder.unknown"]
    words = [
        unknown if is_unknown else word
        for word, is_unknown in zip(inputs["words"][row, :m].numpy(), inputs["unknown_mask"][row, :m], strict=True)
    ]
    heads = {} if method == "excl" else {"heads": SIZES["heads"]}
    return getattr(reference, method)(weights, inputs["features"][row, :n].numpy(), words, **heads)


@pytest.mark.parametrize("method", ["excl", "vslnet"])
def test_boundaries_agree_with_the_reference(method: str) -> None:
    inputs, network = make_inputs(STEPS, WORDS), make_network(method)
    assert inputs["unknown_mask"].any()
    with torch.no_grad():
        found = network(**inputs)
        loss = network.losses(found, Targets(LABELS, SHARE, inputs["step_counts"]))
    boundary, highlight = [], []
    for row, n in enumerate(STEPS):
        expected = expected_of(method, network, inputs, row)
        for name in ("start", "end"):
            p = getattr(found, name)[row].softmax(0)
            np.testing.assert_allclose(p[:n], expected[name], rtol=1e-9)
            assert p[n:].sum() == 0
        if method == "vslnet":
            np.testing.assert_allclose(found.inside[row, :n].sigmoid(), expected["inside"], rtol=1e-9)
        expected.setdefault("inside", np.full(n, 0.5))
        parts = reference.vslnet_losses(expected, *LABELS[row].tolist())
        boundary.append(parts[0])
        highlight.append(parts[1])
    assert float(loss.task) == float(loss.parts["boundary"]) == pytest.approx(np.mean(boundary), rel=1e-9)
    if method == "vslnet":
        assert float(loss.parts["highlight"]) == pytest.approx(np.mean(highlight), rel=1e-9)
        assert float(loss.total) == pytest.approx(0.5 * np.mean(boundary) + 5 * np.mean(highlight), rel=1e-9)
    else:
        assert list(loss.parts) == ["boundary"]
        assert float(loss.total) == float(loss.task)


def test_lgi_agrees_with_the_reference() -> None:
    inputs, network = make_inputs(STEPS, WORDS), make_network("lgi")
    with torch.no_grad():
        found = network(**inputs)
        loss = network.losses(found, Targets(LABELS, SHARE, inputs["step_counts"]))
    losses = []
    for row, (n, m) in enumerate(zip(STEPS, WORDS, strict=True)):
        expected = expected_of("lgi", network, inputs, row)
        np.testing.assert_allclose(found.span[row], expected["span"], rtol=1e-9)
        np.testing.assert_allclose(found.attention[row].softmax(0)[:n], expected["attention"], rtol=1e-9)
        np.testing.assert_allclose(found.phrases[row, :, :m], expected["phrases"], rtol=1e-9)
        assert not found.phrases[row, :, m:].any()
        losses.append(reference.lgi_losses(expected, tuple(SHARE[row].tolist()), *LABELS[row].tolist()))
    for name, mean in zip(("regression", "attention", "phrases"), np.mean(losses, axis=0), strict=True):
        assert float(loss.parts[name]) == pytest.approx(mean), name
    assert loss.task is loss.parts["regression"]
    assert float(loss.total) == pytest.approx(np.mean(losses, axis=0).sum())


@pytest.mark.parametrize("method", NEIGHBOURS)
def test_padding_and_batch_mates_change_nothing(method: str) -> None:
    steps, words = [7, 2, 16, 5], [4, 2, 9, 1]
    inputs, network = make_inputs(steps, words), make_network(method)
    more = make_inputs(steps, words, extra=4)
    turned = [2, 0, 3, 1]
    with torch.no_grad():
        together, padded, shuffled = network(**inputs), network(**more), network(**take(inputs, turned))
        for row, n in enumerate(steps):
            alone = outputs(network(**take(inputs, [row])), 0, n)
            for other in (
                outputs(together, row, n), outputs(padded, row, n), outputs(shuffled, turned.index(row), n)
            ):  # fmt: skip
                torch.testing.assert_close(other, alone, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", NEIGHBOURS)
def test_garbage_in_the_padding_changes_nothing(method: str) -> None:
    inputs, network = make_inputs([7, 2], [4, 2]), make_network(method)
    with torch.no_grad():
        clean = network(**inputs)
        inputs["features"][1, 2:] = 1e6
        inputs["words"][1, 2:] = -1e6
        dirty = network(**inputs)
    assert torch.equal(outputs(clean, 1, 2), outputs(dirty, 1, 2))


@pytest.mark.parametrize("method", NEIGHBOURS)
def test_queries_of_one_video_share_it(method: str) -> None:
    inputs, network = make_inputs([7, 2, 7], [4, 2, 3]), make_network(method)
    inputs["features"][2] = inputs["features"][0]
    with torch.no_grad():
        apart = network(**inputs)
        shared = network(**{**inputs, "features": inputs["features"][:2], "video": torch.tensor([0, 1, 0])})
    for row, n in enumerate([7, 2, 7]):
        torch.testing.assert_close(outputs(shared, row, n), outputs(apart, row, n), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_spans_need_no_more_than_what_is_left_when_only_they_are_asked_for(method: str) -> None:
    network, inputs = make_network(method), make_inputs(STEPS, WORDS)
    begin = torch.arange(20.0).expand(len(STEPS), -1)
    with torch.inference_mode():
        everything, spans = network(**inputs), network(**inputs, spans_only=True)
    for top in (1, 3):
        expected, found = (x.ranked(begin, begin + 1, top=top) for x in (everything, spans))
        assert torch.equal(found.span_sec, expected.span_sec) and torch.equal(found.score, expected.score)
    if isinstance(network, CiMha):
        assert spans.inside is None  # computed for nothing otherwise


@pytest.mark.parametrize("method", NEIGHBOURS)
def test_every_weight_learns(method: str) -> None:
    # Wide enough that no layer's rectifiers are all off by chance.
    network, inputs = make_network(method, hidden=32).train(), make_inputs([7, 9], [4, 5])
    inputs["unknown_mask"][0, 0] = True
    targets = Targets(torch.tensor([[1, 2], [3, 8]]), torch.tensor([[0.1, 0.4], [0.3, 1.0]]), inputs["step_counts"])
    network.losses(network(**inputs), targets).total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias of keys, or one inside of a softmax, shifts all of its scores alike.
        if not name.endswith("bias"):
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("method", NEIGHBOURS)
def test_gradients(method: str) -> None:
    network = make_network(method, hidden=4, query_hidden=2, dropout=0.0, lstm_dropout=0.0)
    inputs = make_inputs([4, 2], [3, 2])
    targets = Targets(torch.tensor([[1, 2], [0, 1]]), torch.tensor([[0.2, 0.7], [0.0, 0.9]]), inputs["step_counts"])

    def loss(features: Tensor, words: Tensor) -> Tensor:
        return network.losses(network(**{**inputs, "features": features, "words": words}), targets).total

    assert torch.autograd.gradcheck(loss, (inputs["features"].requires_grad_(), inputs["words"].requires_grad_()))


@pytest.mark.parametrize("method", NEIGHBOURS)
def test_overfits_four_samples(method: str) -> None:
    torch.manual_seed(0)
    network = build_network(
        method=method, **{**SIZES, "hidden": 32, "query_hidden": 16, "dropout": 0.0, "lstm_dropout": 0.0}
    )
    inputs = take(make_inputs([9, 9, 12, 6], [4, 6, 5, 3]), [0, 1, 2, 3])
    inputs["features"][1] = inputs["features"][0]  # The same video: only the words tell the moments apart.
    inputs = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
    counts = inputs["step_counts"]
    labels = torch.tensor([[1, 3], [5, 8], [0, 11], [4, 4]])
    share = (labels + torch.tensor([0, 1])) / counts[:, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        network.losses(network(**inputs), Targets(labels, share, counts)).total.backward()
        optimizer.step()
    edges = torch.arange(13.0).expand(4, -1)
    real = torch.arange(12) < counts[:, None]
    best = network.eval()(**inputs).ranked(edges[:, :-1] * real, edges[:, 1:] * real).span_sec[:, 0]
    torch.testing.assert_close(best, (labels + torch.tensor([0, 1])).float(), rtol=0, atol=0.3)


@pytest.mark.parametrize("method", NEIGHBOURS)
def test_bfloat16_stays_near(method: str) -> None:
    network = make_network(method).float()
    inputs = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in make_inputs([7, 9], [4, 5]).items()
    }
    with torch.no_grad():
        exact = network(**inputs)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(**inputs)
    if isinstance(exact, SpanPrediction):
        assert rough.span.dtype == rough.attention.dtype == rough.phrases.dtype == torch.float32
        torch.testing.assert_close(rough.span, exact.span, rtol=0.1, atol=0.05)
    else:
        assert rough.start.dtype == torch.float32
        torch.testing.assert_close(rough.start.softmax(1), exact.start.softmax(1), rtol=0.1, atol=0.05)


@pytest.mark.parametrize("method", NEIGHBOURS)
def test_impossible_inputs_are_refused(method: str) -> None:
    network, inputs = make_network(method), make_inputs([4, 2], [3, 2])
    with pytest.raises(ValueError, match="at least one word"):
        network(**{**inputs, "word_counts": torch.tensor([3, 0])})


def test_lgi_refuses_videos_it_was_not_made_for() -> None:
    inputs = make_inputs([4, 2], [3, 2])
    inputs["features"] = torch.zeros(2, 21, 10).double()
    with pytest.raises(ValueError, match="20 at most"):
        make_network("lgi")(**{**inputs, "step_counts": torch.tensor([21, 2])})


def test_blind_methods_are_ci_mha() -> None:
    sighted, blind = make_network("ci_mha"), make_network("ci_mha_query_blind")
    assert isinstance(blind, CiMha)
    inputs = make_inputs([7, 2], [4, 2])
    with torch.no_grad():
        assert torch.equal(sighted(**inputs).start, blind(**inputs).start)
    assert blind(**inputs).inside is not None


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        *(
            ("ci_mha", changed)
            for changed in [
                {"method": "mha"}, {"method": "ci_mha_wo_ms"}, {"max_steps": 24}, {"hidden": 12}, {"query_hidden": 4},
                {"heads": 4}, {"dropout": 0.4}, {"lstm_dropout": 0.2}, {"alignment": "cross"},
                {"segmentation_weight": 2.0},
            ]
        ),
        *(("excl", changed) for changed in [{"query_hidden": 4}, {"dropout": 0.4}, {"lstm_dropout": 0.2}]),
        *(("vslnet", changed) for changed in [{"hidden": 12}, {"heads": 4}, {"dropout": 0.4}]),
        *(("lgi", changed) for changed in [{"max_steps": 24}, {"heads": 2}, {"dropout": 0.4}, {"lstm_dropout": 0.2}]),
    ],
)  # fmt: skip
def test_every_argument_changes_the_network_or_its_loss(method: str, changed: dict) -> None:
    def trained(**arguments) -> float:
        torch.manual_seed(0)
        # Heads other than the classes' own.
        sizes = {**SIZES, "heads": 1, "method": method, **arguments}
        network = build_network(**sizes).double().train()
        torch.manual_seed(1)
        prediction = network(**make_inputs(STEPS, WORDS))
        return network.losses(prediction, Targets(LABELS, SHARE, torch.tensor(STEPS))).total.item()

    assert trained() == trained()
    assert trained(**changed) != trained()


def test_every_method_has_a_network() -> None:
    for method in METHODS:
        network = build_network(method=method, **SIZES)
        assert isinstance(network, CiMha) == uses_alignment(method)
        assert (exchanged_input(method) is not None) == method.endswith("_blind")
    with pytest.raises(ValueError, match="'magic'; expected one of mha"):
        build_network(method="magic", **SIZES)


_QUERY = ("query_encoder.dropout", 0.5)
_COMMON = {_QUERY: 1, ("start_mlp.2", 0.25): 1, ("end_mlp.2", 0.25): 1}
_CI_MHA = {
    _QUERY: 1, ("query_interaction.dropout", 0.25): 1, ("query_projection.2", 0.25): 1,
    ("video_encoder.dropout", 0.25): 1, ("video_interaction.dropout", 0.25): 1, ("video_projection.2", 0.25): 1,
    ("fusion.dropout", 0.25): 2,  # both of the attentions, Eqs 7 and 8
    ("boundaries.dropout", 0.5): 2,  # both of the LSTMs, Eqs 10 and 11
    ("boundaries.start_mlp.2", 0.25): 1, ("boundaries.end_mlp.2", 0.25): 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("ci_mha_wo_ms", _CI_MHA),
        ("ci_mha", _CI_MHA | {("segmentation.mlp.2", 0.25): 1}),
        ("mha", _CI_MHA | {("segmentation.mlp.2", 0.25): 1, ("fusion.dropout", 0.25): 1}),
        ("excl", _COMMON | {("feature_dropout", 0.25): 1, ("dropout", 0.5): 2}),
        ("lgi", {("query_encoder.lstm.between", 0.5): 1, _QUERY: 1, ("video_encoder.dropout", 0.25): 1}),
        (
            "vslnet",
            {
                ("word_projection.0", 0.25): 1, ("video_encoder.dropout", 0.25): 1,
                ("encoder.dropout", 0.25): 2 * (4 + 1 + 1),  # words and steps: convolutions, attention, last layers
                ("encoder.output.2", 0.25): 2,
                ("attention.dropout", 0.25): 2, ("start_mlp.2", 0.25): 1, ("end_mlp.2", 0.25): 1,
            },
        ),
    ],
)  # fmt: skip
def test_dropout_is_used_in_training_where_the_classes_say(method: str, expected: dict) -> None:
    network = make_network(method, dropout=0.25, lstm_dropout=0.5).train()
    used: Counter[tuple[str, float]] = Counter()
    for name, module in network.named_modules():
        if isinstance(module, Dropout) and module.probability:
            module.register_forward_hook(lambda own, *_, name=name: used.update([(name, own.probability)]))
    network(**make_inputs(STEPS, WORDS))
    assert used == expected


def test_a_file_that_claims_other_sizes_than_its_weights_costs_no_memory() -> None:
    sizes = {**SIZES, "method": "ci_mha"}
    weights = build_network(**sizes).state_dict()
    assert network_with_weights(sizes, weights).state_dict().keys() == weights.keys()
    for claimed in (sizes | {"hidden": 2_000_000}, sizes | {"method": "mha"}, sizes | {"method": "ci_mha_wo_ms"}):
        with pytest.raises(ValueError, match="its weights are not those of its sizes"):
            network_with_weights(claimed, weights)
    with pytest.raises(ValueError, match=r"boundaries\.end_mlp\.0\.bias and 0 more"):
        network_with_weights(sizes, {name: w for name, w in weights.items() if name != "boundaries.end_mlp.0.bias"})
