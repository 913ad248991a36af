"""Pooling onto grids."""

import pytest
import torch

from vmr.model.grid import pooled


def by_hand(steps: torch.Tensor, bins: int, how: str) -> torch.Tensor:
    n, rows = len(steps), []
    for b in range(bins):
        first = b * n // bins
        part = steps[first : max((b + 1) * n // bins, first + 1)]
        rows.append(part.mean(dim=0) if how == "mean" else part.max(dim=0).values)
    return torch.stack(rows)


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("bins", [1, 3, 6, 16, 32])
def test_bins_are_those_of_a_loop_and_padding_never_enters(bins: int, how: str) -> None:
    counts = [1, 3, 6, 17, 32]
    features = torch.randn(len(counts), 32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row, n in enumerate(counts):
        features[row, n:] = torch.nan
    found = pooled(features, torch.tensor(counts), bins, how)
    for row, n in enumerate(counts):
        torch.testing.assert_close(found[row], by_hand(features[row, :n], bins, how), rtol=1e-14, atol=1e-14)
