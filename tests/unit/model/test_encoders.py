"""The standardisation of features, by hand; the LSTM against torch's of packed sequences."""

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vmr.model.encoders import BiLSTM, VideoEncoder


def test_mean_and_scale_are_those_of_all_steps_of_all_videos():
    encoder = VideoEncoder(2, hidden=3, dropout=0.0)
    encoder.fit([torch.tensor([[1.0, 10.0], [3.0, 10.0]]), torch.tensor([[5.0, 10.0]])])
    # First number: 1, 3, 5; second: 10, 10, 10. Overall deviation of the six numbers by numpy.
    overall = np.std([1, 3, 5, 10, 10, 10])
    assert encoder.mean.tolist() == pytest.approx([3.0, 10.0])
    assert encoder.scale.tolist() == pytest.approx([np.sqrt(8 / 3) + 0.05 * overall, 0.05 * overall])


def test_features_are_standardised_before_they_are_projected():
    encoder = VideoEncoder(1, hidden=1, dropout=0.0)
    encoder.fit([torch.tensor([[1.0], [3.0]])])
    torch.nn.init.ones_(encoder.projection.weight)
    torch.nn.init.zeros_(encoder.projection.bias)
    # mean 2, deviation 1, overall deviation 1: scale 1.05
    assert encoder(torch.tensor([[[4.1]]])).item() == pytest.approx(2.1 / 1.05)


def test_a_large_common_part_survives_half_precision():
    encoder = VideoEncoder(4, hidden=4, dropout=0.0)
    features = 500 + torch.randn(64, 4, generator=torch.Generator().manual_seed(0)).half()
    encoder.fit([features])
    with torch.autocast("cpu", torch.bfloat16):
        standard = (features.float() - encoder.mean) / encoder.scale
        expected = encoder.projection(standard)
        assert torch.allclose(encoder(features[None])[0], expected)
    assert standard.std() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("videos", [[], [torch.zeros(3, 2)]])
def test_nothing_to_fit_on_changes_no_numbers(videos):
    encoder = VideoEncoder(2, hidden=2, dropout=0.0)
    encoder.fit(videos)
    assert encoder.mean.tolist() == [0.0, 0.0]
    assert encoder.scale.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("counts", [[5, 1, 3], [5, 5, 5], [1, 1, 1]])
def test_sequences_of_different_lengths_go_through_an_lstm_as_packed_ones_do(counts):
    torch.manual_seed(0)
    encoder = BiLSTM(4, 3, layers=2).double()
    x, weights = torch.randn(3, 5, 4, dtype=torch.float64), torch.randn(3, 5, 6, dtype=torch.float64)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()

    states = encoder(found, torch.tensor(counts))
    packed = pack_padded_sequence(expected, counts, batch_first=True, enforce_sorted=False)
    wanted, _ = pad_packed_sequence(encoder.lstm(packed)[0], batch_first=True, total_length=5)

    torch.testing.assert_close(states, wanted)
    (states * weights).sum().backward()
    of_weights = [parameter.grad.clone() for parameter in encoder.parameters()]
    encoder.zero_grad()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)
    torch.testing.assert_close(of_weights, [parameter.grad for parameter in encoder.parameters()])
