"""MLVI: anchors, hinges and captions by hand, all of it against a slow twin, and its stages."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import arrays_of, inputs_of, make_batch, make_network, targets_of
from reference import mlvi_reference as reference
from reference.proposals_reference import iou

from vmr.methods.catalogue import METHODS
from vmr.methods.mlvi import anchor_shares
from vmr.model.offsets import moved

STEPS, WORDS = [7, 1, 20], [4, 1, 6]
SHARE = torch.tensor([[0.3, 0.8], [0.0, 1.0], [0.01, 0.2]], dtype=torch.float64)


def twin_inputs(network, batch) -> tuple[dict, list]:
    """Weights as arrays; features, words for both LSTMs and tokens of each query."""
    found = []
    for row, count in enumerate(WORDS):
        _, words = inputs_of(network, batch, row, unknown="retrieval.vectors")
        found.append((*inputs_of(network, batch, row), words, batch.tokens[row, :count].tolist()))
    return arrays_of(network), found


def test_anchors_and_offsets_by_hand() -> None:
    share, mask = anchor_shares(torch.tensor([10, 2]), 10, torch.tensor([1, 3]), like=torch.zeros(1).double())
    assert share[0].view(10, 2, 2)[5, 1].tolist() == pytest.approx([0.4, 0.7])  # three steps around the middle of 5
    assert mask[1].view(10, 2).tolist() == [[True, False]] * 2 + [[False, False]] * 8
    grown = moved(torch.tensor([0.4, 0.7]), torch.tensor([0.5, float(np.log(2.0))]))
    assert grown.tolist() == pytest.approx([0.4, 1.0])


def test_it_agrees_with_the_reference() -> None:
    batch, network = make_batch(STEPS, WORDS), make_network("mlvi", layers=3, proposals=9, caption_weight=0.25)
    targets = targets_of(batch, torch.zeros(3, 2).long(), SHARE, method="mlvi")
    targets = replace(targets, negatives=torch.tensor([[1], [2], [0]]))
    with torch.no_grad():
        found = network(batch)
        losses = network.losses(found, targets)
    weights, each = twin_inputs(network, batch)
    right, wrong, matches, offsets = [], [], [], []
    for row, (features, guide, words, _) in enumerate(each):
        moment, steps = tuple(SHARE[row].tolist()), len(features)
        expected = reference.outputs(weights, features, guide, layers=3)
        places = [(step * len(reference.SCALES)) + number for step, number, _ in reference.anchors(steps)]
        assert found.anchor_mask[row].nonzero().flatten().tolist() == places
        np.testing.assert_allclose(found.match[row, places], [one[0] for one in expected], rtol=1e-9)
        np.testing.assert_allclose(found.offsets[row, places], [one[1:] for one in expected], rtol=1e-9)
        order = sorted(range(len(expected)), key=lambda place: -expected[place][0])[:9]
        spans = [reference.moved(reference.anchors(steps)[place][2], *expected[place][1:]) for place in order]
        scores = [
            expected[place][0] + reference.read(weights, words, reference.clip(weights, features, span))[0] / 0.2
            for place, span in zip(order, spans, strict=True)
        ]
        np.testing.assert_allclose(found.share[row, : len(order)], spans, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.score[row, : len(order)], scores, rtol=1e-8)
        for total, one in zip((matches, offsets), reference.anchor_losses(expected, steps, moment), strict=True):
            total.append(one)
        overlaps = [iou(cut, moment) if cut[1] > cut[0] else 0.0 for cut in map(reference.cut, spans)]
        right.append(spans[int(np.argmax(overlaps))])
        apart = [place for place, overlap in enumerate(overlaps) if overlap < 0.3]
        wrong.append(spans[max(apart, key=lambda place: scores[place])] if apart else None)
    assert any(wrong) and not all(wrong)
    score = {}
    for row, other in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)):
        vector = reference.clip(weights, each[other][0], right[other])
        score[row, other], states = reference.read(weights, each[row][2], vector)
        if row == other:
            score[row, "words"] = reference.caption(weights, states, each[row][3])
    hinges = []
    for row, other in ((0, 1), (1, 2), (2, 0)):
        hinges += [0.2 + score[row, other] - score[row, row], 0.2 + score[row, other] - score[other, other]]
        if wrong[row]:
            bad = reference.read(weights, each[row][2], reference.clip(weights, each[row][0], wrong[row]))[0]
            hinges.append(0.2 + bad - score[row, row])
    expected = {
        "match": np.mean(matches),
        "offset": np.mean(offsets),
        "retrieval": np.mean(np.maximum(hinges, 0.0)),
        "words": np.mean([score[row, "words"] for row in range(3)]),
    }
    assert {name: float(part) for name, part in losses.parts.items()} == pytest.approx(expected)
    assert float(losses.total) == pytest.approx(sum(expected.values()) - 0.75 * expected["words"])


def test_hinges_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, network = make_batch([7, 9], [4, 5]), make_network("mlvi")
    targets = replace(
        targets_of(batch, torch.zeros(2, 2).long(), method="mlvi"), negatives=torch.tensor([[1], [0]])
    )  # fmt: skip
    found = network(batch)
    # Own proposal, one of the same video, the other query's: of all hinges only 0.1, of the second sentence.
    score = torch.tensor([[0.5, -1.0, 0.1], [0.6, -1.0, 0.4]])
    states = torch.zeros(2, batch.words.shape[1], 8).double()
    monkeypatch.setattr(network.retrieval, "score", lambda *_: (score, states))
    pick = torch.zeros(2).long()
    for has_wrong, count in ((True, 6), (False, 4)):
        hinge, _ = network._pairs(found, targets, pick, pick, torch.full((2,), has_wrong))
        assert hinge.item() == pytest.approx((0.0 + 0.1) / count)
    alone = replace(targets, negatives=torch.tensor([[0], [1]]))
    assert network._pairs(found, alone, pick, pick, torch.zeros(2) > 0)[0].item() == 0.0


def test_in_training_proposals_are_drawn_that_fit() -> None:
    batch, network = make_batch([20, 20], [4, 5]), make_network("mlvi")
    targets = targets_of(batch, torch.tensor([[3, 12], [0, 19]]), method="mlvi")
    found, drawn = network.train()(batch), []
    network._pairs = lambda _, __, right, wrong, has: drawn.append((right, wrong, has)) or (torch.zeros(()),) * 2
    share = found.share.clamp(0.0, 1.0).tolist()
    for _ in range(40):
        network.losses(found, targets)
    for row, moment in enumerate(targets.share.tolist()):
        overlaps = [iou(tuple(span), tuple(moment)) if span[1] > span[0] else 0.0 for span in share[row]]
        real = found.valid_mask[row].tolist()
        fit, far = (
            {place for place, overlap in enumerate(overlaps) if real[place] and test(overlap)}
            for test in (lambda overlap: overlap >= 0.7, lambda overlap: overlap < 0.3)
        )
        rights, wrongs = ({int(each[number][row]) for each in drawn} for number in (0, 1))
        assert rights <= (fit or {int(np.argmax(overlaps))})
        assert wrongs <= far and len(wrongs) > 3 and all(bool(each[2][row]) for each in drawn)


def test_stages_divide_the_weights_and_the_first_ranks_by_match() -> None:
    network, batch = make_network("mlvi").train(), make_batch([7, 9], [4, 5])
    targets = targets_of(batch, torch.tensor([[1, 2], [3, 8]]), method="mlvi")
    names = {name for name, _ in network.named_parameters()}
    first, second = ({name for name in names if name.startswith(stage.trained)} for stage in METHODS["mlvi"].stages)
    assert first | second == names and not first & second
    for stage, others in (("proposals", second), ("retrieval", first)):
        network.zero_grad()
        network.training_loss(batch, targets, stage=stage).total.backward()
        assert all(own.grad is None or not own.grad.any() for name, own in network.named_parameters() if name in others)
    network.retrieval.output.weight.data.zero_()
    found = network.eval()(batch)
    best = found.match.masked_fill(~found.anchor_mask, -torch.inf).sort(dim=1, descending=True).values
    torch.testing.assert_close(
        (found.score - found.score[:, :1])[found.valid_mask], (best - best[:, :1])[found.valid_mask]
    )


def test_captions_leave_out_the_first_word_and_unknown_ones() -> None:
    network = make_network("mlvi").retrieval.requires_grad_(False)
    states, counts = torch.randn(1, 4, 8).double(), torch.tensor([3])
    logits = network.vocabulary(states)
    cost = lambda place, token: float(logits[0, place].logsumexp(0) - logits[0, place, token])  # noqa: E731
    for tokens, expected in (
        ([5, 2, 3, 0], (cost(0, 2) + cost(1, 3)) / 2),
        ([5, 0, 3, 4], cost(1, 3)),  # an unknown word, and one after the end
        ([5, 0, 0, 0], 0.0),
    ):
        assert float(network.caption_loss(states, torch.tensor([tokens]), counts)) == pytest.approx(expected)
