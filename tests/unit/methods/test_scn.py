"""SCN: proposals, their choice, rewards and gaps by hand; its layers and choice against slow twins."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import make_batch, make_network
from reference import weak_reference as reference

from vmr.methods.scn_layers import Stack, choose, ending_shares, rank_loss, rank_rewards

EIGHTHS = [place / 8 for place in range(1, 9)]


def test_proposals_end_at_each_step() -> None:
    share = ending_shares(torch.tensor([8, 4]), 8, EIGHTHS).view(2, 8, 8, 2)
    assert share[0, 2, 2].tolist() == [0.0, 0.375]  # three eighths that end after the third step
    assert share[0, 1, 2, 0] < 0 and share[1, 3, 7].tolist() == [0.0, 1.0]
    network, batch = make_network("scn"), make_batch([8, 1], [3, 2])
    valid = network(batch).valid_mask.view(2, 8, 8)
    assert valid[0].sum(dim=1).tolist() == list(range(1, 9))
    assert valid[1].flatten().tolist() == [True] * 8 + [False] * 56
    halves = make_network("scn", widths=[0.25, 0.5])
    assert halves(batch).valid_mask[0].view(8, 2).sum(dim=0).tolist() == [7, 5]


def test_rewards_and_their_loss_by_hand() -> None:
    nll, score, all_count = torch.tensor([[2.0, 1.0, 3.0]]), torch.tensor([[0.9, 0.6, 0.3]]), torch.ones(1, 3) > 0
    assert rank_rewards(nll).tolist() == [[0.5, 1.0, 0.0]]
    assert rank_loss(score, rank_rewards(nll), all_count).item() == pytest.approx(0.51420, abs=1e-5)
    assert reference.rank_loss([0.9, 0.6, 0.3], [2.0, 1.0, 3.0]) == pytest.approx(0.51420, abs=1e-5)
    two = torch.tensor([[True, True, False]])
    expected = reference.rank_loss([0.9, 0.6], [2.0, 1.0])
    found = rank_loss(
        score, rank_rewards(nll.masked_fill(~two, torch.inf)).where(~two, torch.tensor([0.0, 1.0, 0])), two
    )
    assert found.item() == pytest.approx(expected)


def test_the_choice_is_that_of_the_slow_twin() -> None:
    generator = torch.Generator().manual_seed(0)
    share = ending_shares(torch.tensor([6, 2, 1]), 6, EIGHTHS)
    valid = (share[..., 0] > -1e-6) & (share[..., 1] <= 1 + 1e-6)
    score = torch.rand(valid.shape, generator=generator)
    found, real = choose(score, share, valid, count=3)
    for row in range(3):
        places = valid[row].nonzero().flatten().tolist()
        own = reference.chosen(score[row, places].tolist(), [tuple(s) for s in share[row, places].tolist()], 3)
        assert found[row, real[row]].tolist() == [places[place] for place in own]
    assert real.all()
    one = valid & (torch.arange(valid.shape[1]) == 7)
    assert choose(score, share, one, count=3)[1].sum(dim=1).tolist() == [1 if row else 0 for row in one.any(dim=1)]
    drawn = torch.full((3, *score.shape), -torch.inf)
    drawn[0] = -score  # the worst first
    worst, _ = choose(score, share, valid, count=3, random=drawn)
    assert worst[:, 0].tolist() == (-score).masked_fill(~valid, -torch.inf).argmax(dim=1).tolist()


@pytest.mark.parametrize("with_memory", [True, False])
def test_layers_agree_with_the_slow_twin(with_memory: bool) -> None:
    torch.manual_seed(0)
    stack = Stack(8, heads=2, layers=2, dropout=0.5).double().eval()
    x, memory = torch.randn(1, 5, 8).double(), torch.randn(1, 4, 8).double()
    mask = torch.tensor([[True, True, True, False]])
    with torch.no_grad():
        found = stack(x, memory, mask) if with_memory else stack(x)
    weights = {name: tensor.numpy() for name, tensor in stack.state_dict().items()}
    rows = list(x[0].numpy())
    for layer in range(2):
        rows = reference.causal_layer(
            weights, str(layer), rows, list(memory[0, :3].numpy()) if with_memory else None, 2
        )
    np.testing.assert_allclose(found[0], np.stack(rows), rtol=1e-9)


def test_a_third_of_the_words_is_masked() -> None:
    network, batch = make_network("scn"), make_batch([5] * 4, [2, 3, 7, 9])
    for training in (True, False):
        gaps = network.train(training)._gaps(batch)
        assert gaps.sum(dim=1).tolist() == [0, 1, 2, 3] and not (gaps & ~batch.word_mask).any()


def test_a_word_is_told_by_what_comes_before_it() -> None:
    network, batch = make_network("scn"), make_batch([9], [4])
    batch = replace(batch, unknown_mask=torch.zeros(1, 4) > 0, tokens=torch.tensor([[0, 0, 3, 0]]))
    spans = torch.tensor([[[0.0, 1.0], [0.0, 0.5], [0.5, 1.0]]]).double()

    def nll(words: torch.Tensor) -> torch.Tensor:
        return network._completed(batch, network.video_encoder(batch.features), words, spans)[0]

    first = nll(batch.words)
    changed = batch.words.clone()
    changed[0, 2:] += 1.0  # the word itself and the next
    assert torch.equal(nll(changed), first)
    changed[0, 1] += 1.0
    assert not torch.allclose(nll(changed), first)


def test_chance_falls_with_training_steps_and_is_kept_with_the_weights() -> None:
    network = make_network("scn", exploration=1.0, exploration_steps=1).train()
    score = torch.zeros(50, 8)
    assert not network._random(score).isinf().any()
    network.trained_steps += 30
    assert network._random(score).isinf().all() and "trained_steps" in network.state_dict()
    assert network.eval()._random(score) is None
