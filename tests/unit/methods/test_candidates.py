"""Methods that rank candidates, by hand and against slow twins: 2D-TAN, CTRL, MAN and MLLC."""

import numpy as np
import pytest
import torch
from networks import arrays_of, inputs_of, make_batch, make_network, targets_of
from reference import candidates_reference as reference

from vmr.methods.ctrl import match_loss
from vmr.methods.ctrl import windows as ctrl_windows
from vmr.methods.man import MomentGraph
from vmr.methods.mllc import drawn
from vmr.methods.tan_2d import candidates, pooled_candidates
from vmr.model.batch import PairTargets
from vmr.model.grid import interval_means
from vmr.model.losses import mean_where
from vmr.model.offsets import moved, offsets_between
from vmr.model.prediction import ProposalPrediction

# Among them: one step, one word, fewer steps than parts of the grid.
STEPS, WORDS = [7, 1, 20], [4, 1, 6]
SHARE = torch.tensor([[0.3, 0.8], [0.0, 1.0], [0.01, 0.2]], dtype=torch.float64)
LABELS = torch.zeros(3, 2).long()


def found_of(method: str, **own: object):
    """Prediction, losses and, for each query, what the reference takes."""
    batch, network = make_batch(STEPS, WORDS), make_network(method, **own)
    with torch.no_grad():
        found = network(batch)
        losses = network.losses(found, targets_of(batch, LABELS, SHARE, method=method))
    return found, losses, [(arrays_of(network), *inputs_of(network, batch, row)) for row in range(3)]


@pytest.mark.parametrize(("count", "share"), [(3, [0.0, 1.0]), (7, [0.1, 0.13]), (5, [0.21, 0.9])])
def test_means_over_intervals_are_those_of_the_reference(count: int, share: list[float]) -> None:
    x = torch.randn(1, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = interval_means(x, torch.tensor([count]), torch.tensor([share], dtype=torch.float64))[0, 0]
    np.testing.assert_allclose(found, reference.mean_between(list(x[0, :count].numpy()), *share), rtol=1e-12)


@pytest.mark.parametrize("clips", [1, 5, 20, 64])
def test_candidates_of_the_map_and_their_maxima(clips: int) -> None:
    assert candidates(clips) == reference.cells(clips)
    x = torch.randn(2, clips, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([x[:, first : last + 1].amax(dim=1) for first, last in candidates(clips)], dim=1)
    assert torch.equal(pooled_candidates(x), expected)


def test_targets_of_the_map_by_hand() -> None:
    network, batch = make_network("tan_2d", clips=4), make_batch([4], [2])
    found = network(batch)
    order = candidates(4)
    # Moment: the parts 1 and 2 of 4. IoU 0.5 wants 0, 1 wants 1, 2/3 wants 1/3.
    wanted = {(1, 1): 0.0, (2, 2): 0.0, (1, 2): 1.0, (0, 2): 1 / 3, (1, 3): 1 / 3, (0, 3): 0.0}
    for value in (0.2, 0.9):
        score = torch.full((1, len(order)), float(np.log(value / (1 - value))), dtype=torch.float64)
        prediction = ProposalPrediction(found.share, score, found.valid_mask, found.step_counts, found.steps)
        targets = targets_of(batch, torch.tensor([[1, 2]]), method="tan_2d")
        each = [-p * np.log(value) - (1 - p) * np.log(1 - value) for p in (wanted.get(cell, 0.0) for cell in order)]
        assert float(network.losses(prediction, targets).total) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("clips", [4, 18])
def test_tan_2d_agrees_with_the_reference(clips: int) -> None:
    own = {"clips": clips, "kernel": 3, "layers": 2, "query_layers": 2}
    found, losses, inputs = found_of("tan_2d", **own)
    each = []
    for row, one in enumerate(inputs):
        logits = reference.tan_2d(*one, **own)
        np.testing.assert_allclose(found.score[row], logits, rtol=1e-9)
        each.append(reference.tan_2d_loss(logits, clips, tuple(SHARE[row].tolist())))
    assert float(losses.total) == pytest.approx(np.mean(each))


def test_ctrl_agrees_with_the_reference() -> None:
    found, losses, inputs = found_of("ctrl", offset_weight=0.5)
    np.testing.assert_allclose(ctrl_windows(), reference.windows(), atol=1e-12)
    vectors = [reference.ctrl(*one) for one in inputs]
    for row, (windows, sentence) in enumerate(vectors):
        expected = np.array([reference.ctrl_match(inputs[row][0], window, sentence) for window in windows])
        np.testing.assert_allclose(found.score[row], expected[:, 0], rtol=1e-8)
        moved = np.array(reference.windows()) + expected[:, 1:] / STEPS[row]
        np.testing.assert_allclose(found.share[row], moved, rtol=1e-8)
    match, offset = reference.ctrl_losses(inputs[0][0], vectors, [tuple(x) for x in SHARE.tolist()], STEPS)
    assert float(losses.parts["match"]) == pytest.approx(match)
    assert float(losses.parts["offset"]) == pytest.approx(offset)
    assert float(losses.total) == pytest.approx(match + 0.5 * offset)


def test_match_loss_by_hand() -> None:
    def pairs(video: list[int]) -> PairTargets:
        size = len(video)
        none = torch.zeros(size, 0, dtype=torch.int64)
        return PairTargets(torch.tensor(video), torch.ones(size, dtype=torch.int64), torch.zeros(size, 1).long(), none)

    # All scores 0: every pair costs ln 2; the own one 1 + 1/2, the other 1/2.
    assert float(match_loss(torch.zeros(2, 2), pairs([0, 1]))) == pytest.approx(2 * 0.6931, abs=1e-4)
    score = torch.tensor([[1.0, 9.0], [9.0, 1.0]], requires_grad=True)
    loss = match_loss(score, pairs([4, 4]))
    loss.backward()
    assert loss.item() == pytest.approx(2 * np.log1p(np.exp(-1.0)))
    assert score.grad is not None and not score.grad.fliplr().diagonal().any()  # one video has no negatives


@pytest.mark.parametrize("parts", [1, 4])
def test_man_agrees_with_the_reference(parts: int) -> None:
    found, losses, inputs = found_of("man", parts=parts, iterations=2, offset_weight=0.5)
    each = []
    for row, one in enumerate(inputs):
        spans, numbers = reference.man(*one, parts=parts, iterations=2)
        np.testing.assert_allclose(found.score[row], numbers[:, 0], rtol=1e-8)
        np.testing.assert_allclose(found.share[row], spans, rtol=1e-8)
        each.append(reference.man_losses(numbers, parts, tuple(SHARE[row].tolist())))
    match, offset = np.mean(each, axis=0)
    assert [float(part) for part in losses.parts.values()] == pytest.approx([match, offset])
    assert float(losses.total) == pytest.approx(match + 0.5 * offset)


def test_mans_candidates_and_positives_by_hand() -> None:
    quarters = [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]
    network, batch = make_network("man", parts=4), make_batch([4], [2])
    assert [*map(tuple, network.shares.tolist())] == [*quarters, (0.0, 0.5), (0.5, 1.0), (0.0, 1.0)]
    # IoU of [0.25, 0.75]: the middle quarters and the whole 0.5, which is not above it, halves 1/3; so the first best.
    share = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    found = network(batch)
    match, _ = network.losses(found, targets_of(batch, LABELS[:1], share, method="man")).parts.values()
    p, positive = found.score.sigmoid()[0], torch.tensor([False, True, False, False, False, False, False])
    assert match.item() == pytest.approx(-torch.where(positive, p, 1 - p).log().mean().item())
    wanted = offsets_between(torch.tensor(quarters), torch.tensor([[0.25, 0.75]]))
    assert wanted[1].tolist() == pytest.approx([0.5, np.log(2)])
    torch.testing.assert_close(moved(torch.tensor(quarters), wanted), torch.tensor([[0.25, 0.75]]).expand(4, 2))


def test_mans_graph_without_relations_and_in_another_order() -> None:
    torch.manual_seed(0)
    graph, x = MomentGraph(5, iterations=3).double(), torch.randn(1, 7, 5).double()
    order = torch.randperm(7)
    torch.testing.assert_close(graph(x[:, order]), graph(x)[:, order])
    for relation in graph.relations:
        torch.nn.init.zeros_(relation.weight)
    own = np.tanh(np.tanh(np.tanh(1.0)))  # each candidate's edge to itself, the only one
    torch.testing.assert_close(graph(x), torch.relu(graph.outputs[2](own * x)))


@pytest.mark.parametrize(("clips", "near"), [(3, 0.4), (5, 1.0)])
def test_mllc_agrees_with_the_reference(clips: int, near: float) -> None:
    found, losses, inputs = found_of("mllc", clips=clips, near_iou=near, margin=1.0, other_video=0.3)
    each = []
    for row, one in enumerate(inputs):
        scores, other = reference.mllc(*one, clips=clips), inputs[(row + 1) % 3]  # the next is the negative
        np.testing.assert_allclose(found.score[row], scores, rtol=1e-9)
        others = reference.mllc(one[0], other[1], one[2], clips=clips)
        moment = tuple(SHARE[row].tolist())
        each.append(reference.mllc_losses(scores, others, clips, moment, margin=1.0, near=near))
    moment, video = np.mean(each, axis=0)
    assert [float(part) for part in losses.parts.values()] == pytest.approx([moment, video])
    assert float(losses.total) == pytest.approx(0.7 * moment + 0.3 * video)


def test_mllcs_moments_by_hand() -> None:
    network = make_network("mllc", clips=3)
    clips = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]]).double()
    rows = network.described(clips)[0]
    assert (rows[:, 2:] * 3).round().tolist() == [[0, 0], [1, 1], [2, 2], [0, 1], [1, 2], [0, 2]]
    torch.testing.assert_close(rows[3, :2], torch.tensor([0.6, 0.8]).double())  # mean [1.5, 2] at length 1
    assert not rows[2, :2].any()


def test_the_context_that_suits_best_decides() -> None:
    network, batch = make_network("mllc", clips=3), make_batch([5], [2])
    found = network(batch)
    each = network.scores(found.moments, found.contexts, found.sentence)
    assert each.shape == (1, 6, 6) and torch.equal(each.amax(dim=2), found.score)
    best, worst = each[0, 0].argmax(), each[0, 0].argmin()
    for context in range(6):
        contexts = found.contexts[:, worst].expand(1, 6, -1).clone()
        contexts[:, context] = found.contexts[:, best]
        changed = network.scores(found.moments[:, :1], contexts, found.sentence)
        assert changed[0, 0].argmax().item() == context and changed.max().item() == pytest.approx(
            each[0, 0, best].item()
        )


def test_mllc_draws_one_moment_that_is_far() -> None:
    far = torch.tensor([[False, True, True, False], [False, False, False, False]])
    torch.manual_seed(0)
    draws = torch.stack([drawn(far) for _ in range(20)])
    assert draws[:, 0].sum(dim=1).eq(1).all() and not draws[:, 1].any()
    assert draws[:, 0].any(dim=0).tolist() == far[0].tolist()
    # Hinge of scores 0.4 and 0.35 at margin 0.1, and a row without any.
    hinges = torch.tensor([[0.1 - 0.4 + 0.35, 0.0, 9.0, 9.0], [9.0] * 4])
    only = torch.tensor([[True, False, False, False], [False] * 4])
    assert mean_where(hinges, only).item() == pytest.approx(0.05 / 2)
