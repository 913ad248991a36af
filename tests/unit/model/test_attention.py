"""Attention, carrying weights back, and the bi-LSTM, each by itself."""

import pytest
import torch

from vmr.model.attention import MultiHeadAttention
from vmr.model.encoders import BiLSTM, last_states
from vmr.model.fusion import carry_back


def torch_layer(ours: MultiHeadAttention, dim: int) -> torch.nn.MultiheadAttention:
    theirs = torch.nn.MultiheadAttention(dim, ours.heads, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    return theirs


def test_agrees_with_torch() -> None:
    torch.manual_seed(0)
    ours = MultiHeadAttention(12, heads=4).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    query, memory = torch.randn(3, 5, 12).double(), torch.randn(3, 7, 12).double()
    mask = torch.arange(7) < torch.tensor([[7], [1], [4]])
    expected, weights = torch_layer(ours, 12)(query, memory, memory, key_padding_mask=~mask)
    torch.testing.assert_close(ours(query, memory, mask), expected)
    both = ours.with_weights(query, memory, mask)
    torch.testing.assert_close(both[0], expected)
    torch.testing.assert_close(both[1], weights)


def test_each_query_may_have_keys_of_its_own() -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(6, heads=2)
    x, mask = torch.randn(2, 4, 6), torch.rand(2, 4, 4) < 0.6
    mask |= torch.eye(4) > 0
    found = attention(x, x, mask)
    for query in range(4):
        torch.testing.assert_close(found[:, query : query + 1], attention(x[:, query : query + 1], x, mask[:, query]))


@pytest.mark.parametrize("with_weights", [False, True])
def test_gradients(with_weights: bool) -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(6, heads=2).double()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    inputs = torch.randn(2, 2, 6).double().requires_grad_(), torch.randn(2, 3, 6).double().requires_grad_()
    run = attention.with_weights if with_weights else attention
    assert torch.autograd.gradcheck(lambda query, memory: run(query, memory, mask), inputs)


def test_a_width_that_heads_do_not_divide_is_rounded_up() -> None:
    attention = MultiHeadAttention(500, heads=8)
    assert attention.query.out_features == 504
    assert attention(torch.randn(1, 2, 500), torch.randn(1, 3, 500), torch.ones(1, 3).bool()).shape == (1, 2, 500)


def test_carrying_back_by_hand() -> None:
    weights = torch.tensor([[[0.75, 0.25, 0.0], [0.25, 0.25, 0.5], [0.9, 0.1, 0.0]]])
    found = carry_back(weights, torch.tensor([[True, True, False]]))
    assert found.tolist() == [[[0.75, 0.25, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]]


def test_carrying_back_survives_steps_that_no_word_looks_at() -> None:
    scores = torch.tensor([[[200.0, -200.0], [200.0, -200.0]]], requires_grad=True)
    found = carry_back(scores.softmax(dim=-1), torch.ones(1, 2).bool())
    found.square().sum().backward()
    assert found.isfinite().all()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize(("layers", "drops"), [(1, False), (2, True)])
def test_dropout_is_between_lstms_only(layers: int, drops: bool) -> None:
    torch.manual_seed(0)
    layer = BiLSTM(3, 4, layers=layers, dropout=0.5)
    x, counts = torch.randn(2, 5, 3), torch.tensor([5, 2])
    assert torch.equal(layer.train()(x, counts), layer.eval()(x, counts)) != drops


def test_last_states_are_those_of_each_direction_at_its_end() -> None:
    torch.manual_seed(0)
    layer = BiLSTM(3, 4, layers=2).double()
    x, counts = torch.randn(2, 5, 3).double(), torch.tensor([5, 2])
    found = last_states(layer(x, counts), counts)
    for row, count in enumerate([5, 2]):
        _, (hidden, _) = layer.lstm(x[row : row + 1, :count])
        torch.testing.assert_close(found[row], torch.cat([hidden[-2, 0], hidden[-1, 0]]))


@pytest.mark.parametrize(("dim", "heads"), [(0, 1), (4, 0)])
def test_impossible_sizes_are_refused(dim: int, heads: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        MultiHeadAttention(dim, heads=heads)
