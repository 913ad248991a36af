import pytest
import torch

from vmr.model.dropout import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_asked_and_the_mean_stays(probability, dtype):
    torch.manual_seed(0)
    x = torch.ones(400, 500, dtype=dtype)
    out = Dropout(probability)(x)
    kept = out != 0
    # Deviation of a share of 200,000 draws: at most 0.0011.
    assert float((~kept).float().mean()) == pytest.approx(probability, abs=0.006)
    torch.testing.assert_close(out[kept].unique().float(), torch.tensor([1 / (1 - probability)]), rtol=1e-2, atol=0)
    assert out.dtype == dtype
    # No row and no column is special.
    assert kept.float().mean(0).std() < 0.04 and kept.float().mean(1).std() < 0.04


def test_the_seed_decides_and_calls_differ():
    layer, x = Dropout(0.5), torch.ones(64, 64)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)


def test_nothing_happens_in_evaluation_or_at_zero():
    x = torch.randn(5, 5)
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0)(x) is x


def test_gradients_pass_where_numbers_were_kept():
    x = torch.randn(50, 50, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, (out / x).detach().nan_to_num())


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_impossible_probabilities_are_refused(probability):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        Dropout(probability)
