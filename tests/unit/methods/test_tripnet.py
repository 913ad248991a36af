"""TripNet: moves and rewards by hand, greedy rollouts against a slow twin, draws, and that it learns."""

from itertools import islice

import numpy as np
import pytest
import torch
from networks import arrays_of, inputs_of, make_batch, make_network, overfitting, targets_of
from reference import tripnet_reference as reference
from reference.proposals_reference import iou

from vmr.methods.tripnet import RESIZES, SHIFTS, moved, returns, rewards

STEPS, WORDS = [7, 1, 20], [4, 1, 6]
SHARE = torch.tensor([[0.3, 0.8], [0.0, 1.0], [0.01, 0.2]], dtype=torch.float64)


def window(*shares: float) -> torch.Tensor:
    return torch.tensor(shares, dtype=torch.float64)


def test_moves_by_hand() -> None:
    assert moved(window(0.25, 0.75), window(0.1, 0.1)).tolist() == pytest.approx([0.35, 0.85])
    assert moved(window(0.25, 0.75), window(-0.5, -0.5)).tolist() == [0.0, 0.5]  # the length stays
    assert moved(window(0.25, 0.75), window(0.0, 0.1)).tolist() == pytest.approx([0.25, 0.85])
    assert moved(window(0.25, 0.30), window(0.1, 0.0)).tolist() == pytest.approx([0.25, 0.30])  # a twentieth stays
    for start, end in ((0.0, 0.06), (0.3, 0.42), (0.9, 1.0), (0.0, 1.0)):
        for change in (*SHIFTS, *RESIZES):
            found = moved(window(start, end), window(*change)).tolist()
            assert found == pytest.approx(reference.change((start, end), change), abs=1e-12)


def test_rewards_by_hand() -> None:
    # [.25, .75], then .1 on, then a stop; the moment is the second half.
    overlap = torch.tensor([[[1 / 3, 0.35 / 0.65, 0.35 / 0.65, 0.35 / 0.65]]]).double()
    moving, stop = torch.tensor([[[True, True, False]]]), torch.tensor([[[False, True, False]]])
    found = rewards(overlap, moving, stop, step_cost=0.01)
    assert found.flatten().tolist() == pytest.approx([0.2051 - 0.01, 0.5385 - 0.01, 0.0], abs=1e-4)
    assert returns(window(0.0, 0.0, 1.0), 0.5).tolist() == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("resizes", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_greedy_rollout_agrees_with_the_reference(resizes: bool, seed: int) -> None:
    own = {"resizes": resizes, "window": 0.4, "discount": 0.8, "step_cost": 0.02}
    batch, network = make_batch(STEPS, WORDS), make_network("tripnet", seed=seed, **own)
    with torch.no_grad():
        network.policy.weight.mul_(4.0)  # so that moves differ
        network.policy.bias[-1] -= 1.0
        found = network(batch)
        losses = network.losses(found, targets_of(batch, torch.zeros(3, 2).long(), SHARE, method="tripnet"))
    each, moves = [], list(RESIZES if resizes else SHIFTS)
    for row in range(3):
        one = reference.rollout(arrays_of(network), *inputs_of(network, batch, row), moves, window=0.4)
        count = len(one["chances"])
        assert found.moving_mask[row, 0].sum() == count and found.stop_mask[row].any() == one["stopped"][0]
        np.testing.assert_allclose(found.windows[row, 0, : count + 1], one["windows"], rtol=1e-9, atol=1e-12)
        assert torch.equal(found.windows[row, 0, -1], found.windows[row, 0, count])  # it rests after the stop
        for name, key in (("log_policy", "chances"), ("log_stop", "stops")):
            np.testing.assert_allclose(getattr(found, name)[row, 0, :count].exp(), one[key], rtol=1e-9)
        each.append(one)
    expected = reference.losses(each, [tuple(share) for share in SHARE.tolist()], discount=0.8, cost=0.02)
    assert {name: float(part) for name, part in losses.parts.items()} == pytest.approx(expected)
    total = expected["policy"] + 0.5 * expected["value"] - 0.05 * expected["entropy"]
    assert float(losses.total) == pytest.approx(total)


def test_looks_and_evidence() -> None:
    batch, network = make_batch(STEPS, WORDS), make_network("tripnet")
    with torch.no_grad():
        found = network(batch)
    looks = found.curves()["attention"]
    torch.testing.assert_close(looks.sum(dim=1), torch.ones(3).double())
    assert not looks[~batch.step_mask].any()
    last = found.moving_mask[:, 0].sum(dim=1) - 1
    expected = [found.log_stop[row, 0, int(place)].item() for row, place in enumerate(last)]
    assert found.evidence(batch.step_mask).log_weight.tolist() == expected


def test_moves_are_drawn_from_the_policy_by_the_seed() -> None:
    batch, network = make_batch([7], [4]), make_network("tripnet", rollouts=20000, dropout=0.0, lstm_dropout=0.0)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        with torch.no_grad():
            runs.append(network.train()(batch))
    first, again, other = (run.log_policy[0, :, 0].exp() for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)
    # Every first move has the probability of its kind: it comes as often.
    for chance in first.unique().tolist():
        assert float((first == chance).double().mean()) == pytest.approx(chance, abs=0.01)
    assert len(first.unique()) == 7
    torch.manual_seed(0)
    greedy = network.eval()(batch)
    assert torch.equal(greedy.windows, network(batch).windows) and greedy.log_policy[0, 0, 0].exp() == first.max()


def test_what_brought_more_than_expected_becomes_more_likely() -> None:
    batch, network = make_batch([7, 9], [4, 5]), make_network("tripnet", dropout=0.0, lstm_dropout=0.0)
    targets = targets_of(batch, torch.tensor([[1, 2], [3, 8]]), method="tripnet")
    found = network.train()(batch)
    iou_of = [[iou(tuple(own), tuple(share)) for own in rows] for rows, share in
              zip(found.windows.flatten(1, 2).tolist(), targets.share.tolist(), strict=True)]  # fmt: skip
    overlap = torch.tensor(iou_of, dtype=torch.float64).view(found.windows.shape[:3])
    gained = returns(rewards(overlap, found.moving_mask, found.stop_mask, step_cost=0.01), 0.9)
    (slope,) = torch.autograd.grad(network.losses(found, targets).parts["policy"], found.log_policy)
    expected = -(gained - found.value) * found.moving_mask / found.moving_mask.sum()
    torch.testing.assert_close(slope, expected.detach())


@pytest.mark.parametrize("resizes", [False, True])
def test_it_learns_the_best_windows_of_four_samples(resizes: bool) -> None:
    network, batch, targets = next(islice(overfitting("tripnet", resizes=resizes), 8, None))  # after 200 steps
    found = network(batch).windows[:, 0, -1].tolist()
    overlaps = [iou(tuple(own), tuple(share)) for own, share in zip(found, targets.share.tolist(), strict=True)]
    # A window of 0.27 cannot do better; where lengths change, moments of all lengths are found.
    assert overlaps == pytest.approx([0.81, 0.6075, 0.27, 0.617], abs=0.01) if not resizes else min(overlaps) > 0.6
