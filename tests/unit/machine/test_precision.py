"""What runs in which precision."""

import pytest
import torch

from vmr.machine.precision import lstm_precision
from vmr.model.encoders import BiLSTM


def test_an_lstm_runs_in_single_precision_where_none_runs_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors without AVX-512: torch ends with an error of oneDNN there."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    torch.manual_seed(0)
    network, x, counts = BiLSTM(5, 4, layers=2), torch.randn(2, 7, 5), torch.tensor([7, 4])
    exact = network(x, counts)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(x, counts), exact)
        assert network(x.bfloat16(), counts).dtype == torch.float32
    double, _ = lstm_precision(x.double())
    assert double.dtype == torch.float64, "nothing is changed without autocast"


def test_elsewhere_it_runs_as_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    x = torch.randn(2, 7, 5)
    with torch.autocast("cpu", torch.bfloat16):
        same, precision = lstm_precision(x)
        with precision:
            assert same is x and torch.is_autocast_enabled("cpu")
