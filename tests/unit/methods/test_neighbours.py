"""ExCL, VSLNet and LGI against independent numpy versions; what sizes and dropout change; blind methods."""

from collections import Counter

import numpy as np
import pytest
import torch
from networks import SIZES, arrays_of, inputs_of, make_batch, make_network, targets_of
from reference import neighbours_reference as reference

from vmr.errors import ConfigError
from vmr.methods.build import build_network, network_with_weights
from vmr.methods.catalogue import METHODS
from vmr.methods.ci_mha import CiMha
from vmr.model.batch import Batch
from vmr.model.dropout import Dropout

# Among them: one step, one word, more words than steps, more steps than LGI's convolutions see.
STEPS, WORDS = [7, 1, 20, 3], [4, 2, 1, 6]
LABELS = torch.tensor([[2, 5], [0, 0], [0, 18], [1, 1]])
SHARE = torch.tensor([[0.3, 0.8], [0.0, 1.0], [0.01, 0.9], [0.4, 0.6]])


def expected_of(method: str, network, inputs: Batch, row: int) -> dict[str, np.ndarray]:
    own = inputs_of(network, inputs, row, unknown="words" if method == "vslnet" else "query_encoder")
    heads = {} if method == "excl" else {"heads": SIZES["heads"]}
    return getattr(reference, method)(arrays_of(network), *own, **heads)


@pytest.mark.parametrize("method", ["excl", "vslnet"])
def test_boundaries_agree_with_the_reference(method: str) -> None:
    inputs, network = make_batch(STEPS, WORDS), make_network(method)
    assert inputs.unknown_mask.any()
    with torch.no_grad():
        found = network(inputs)
        loss = network.losses(found, targets_of(inputs, LABELS, SHARE))
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
        assert float(loss.total) == pytest.approx(np.mean(boundary) + 5 * np.mean(highlight), rel=1e-9)
    else:
        assert list(loss.parts) == ["boundary"]
        assert float(loss.total) == float(loss.task)


def test_lgi_agrees_with_the_reference() -> None:
    inputs, network = make_batch(STEPS, WORDS), make_network("lgi")
    with torch.no_grad():
        found = network(inputs)
        loss = network.losses(found, targets_of(inputs, LABELS, SHARE))
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


def test_blind_methods_are_ci_mha() -> None:
    sighted, blind = make_network("ci_mha"), make_network("ci_mha_query_blind")
    assert isinstance(blind, CiMha)
    inputs = make_batch([7, 2], [4, 2])
    with torch.no_grad():
        assert torch.equal(sighted(inputs).start, blind(inputs).start)
    assert blind(inputs).inside is not None


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        *(
            ("ci_mha", changed)
            for changed in [
                {"method": "mha"}, {"method": "ci_mha_wo_ms"}, {"max_steps": 24}, {"hidden": 12}, {"query_hidden": 3},
                {"heads": 4}, {"dropout": 0.4}, {"lstm_dropout": 0.2}, {"alignment": "cross"},
                {"segmentation_weight": 2.0},
            ]
        ),
        *(("vslnet", changed) for changed in [{"kernel": 5}, {"layers": 2}]),
        *(("vslnet", changed) for changed in [{"highlight_weight": 1.0}, {"extension": 1.0}]),
        *(("lgi", changed) for changed in [{"phrases": 2}, {"kernel": 3}]),
        *(("lgi", changed) for changed in [{"global_blocks": 1}, {"phrase_overlap": 0.1}]),
        *(("excl", changed) for changed in [{"query_hidden": 3}, {"dropout": 0.4}, {"lstm_dropout": 0.2}]),
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
        batch = make_batch(STEPS, WORDS)
        return network.losses(network(batch), targets_of(batch, LABELS, SHARE)).total.item()

    assert trained() == trained()
    assert trained(**changed) != trained()


def test_every_method_has_a_network() -> None:
    for method in METHODS:
        network = build_network(method=method, **SIZES)
        assert isinstance(network, CiMha) == ("alignment" in METHODS[method].settings.model_fields)
    with pytest.raises(ConfigError, match="there is no method `magic`"):
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
        ("lgi", {("query_encoder.lstm.between", 0.5): 1, ("video_encoder.dropout", 0.25): 1}),
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
    network(make_batch(STEPS, WORDS))
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
