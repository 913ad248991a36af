"""CI-MHA against the independent numpy version."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import SIZES, make_batch, make_network
from reference import ci_mha_reference as reference

from vmr.model.fusion import ALIGNMENTS
from vmr.model.losses import moment_loss

METHODS = ("mha", "ci_mha_wo_ms", "ci_mha")


@pytest.mark.parametrize(("method", "alignment"), list(itertools.product(METHODS, ALIGNMENTS)))
def test_agrees_with_the_reference(method: str, alignment: str) -> None:
    # Among them: one step, one word, more words than steps, unknown words only.
    steps, words = [7, 1, 12, 3, 5], [4, 2, 1, 6, 3]
    inputs = make_batch(steps, words)
    inputs.unknown_mask[4, :3] = True
    labels = torch.tensor([[2, 5], [0, 0], [0, 11], [1, 1], [0, 4]])
    model = make_network(method, alignment=alignment)
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        found = model(inputs)
        loss = moment_loss(found, labels, inputs.step_counts, segmentation_weight=0.5)
    boundary, segmentation = [], []
    for row, (n, m) in enumerate(zip(steps, words, strict=True)):
        expected = reference.predict(
            weights, inputs.features[row, :n].numpy(), inputs.words[row, :m].numpy(),
            inputs.unknown_mask[row, :m].tolist(), heads=SIZES["heads"], alignment=alignment, method=method,
        )  # fmt: skip
        np.testing.assert_allclose(found.start[row].softmax(0)[:n], expected["start"], rtol=1e-9)
        np.testing.assert_allclose(found.end[row].softmax(0)[:n], expected["end"], rtol=1e-9)
        assert found.start[row].softmax(0)[n:].sum() == 0
        if method != "ci_mha_wo_ms":
            np.testing.assert_allclose(found.inside[row, :n].sigmoid(), expected["inside"], rtol=1e-9)
        parts = reference.losses(expected, *labels[row].tolist())
        boundary.append(parts[0])
        segmentation.append(parts[1])
    assert (found.inside is None) == (method == "ci_mha_wo_ms")
    assert float(loss.task) == float(loss.parts["boundary"]) == pytest.approx(np.mean(boundary))
    assert ("segmentation" in loss.parts) == (method != "ci_mha_wo_ms")
    assert float(loss.parts.get("segmentation", 0.0)) == pytest.approx(np.mean(segmentation))
    assert float(loss.total) == pytest.approx(np.mean(boundary) + 0.5 * np.mean(segmentation))


@pytest.mark.parametrize("method", ["ci_mha", "lgi"])
def test_impossible_sizes_are_refused(method: str) -> None:
    batch = make_batch([4, 2], [3, 2])
    longer = replace(batch, features=torch.zeros(2, 21, 10).double(), step_counts=torch.tensor([21, 2]))
    with pytest.raises(ValueError, match="20 at most"):
        make_network(method)(longer)
    with pytest.raises(ValueError, match="even"):
        make_network("ci_mha", hidden=7)
