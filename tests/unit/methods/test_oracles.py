"""Candidates that networks offer: what they answer with is among them, and the best of them reach what is known."""

import csv

import numpy as np
import pytest
import torch
from networks import ONE_OF_EACH, SIZES, make_batch, make_network

from vmr.evaluation.metrics import average, best_of, query_scores
from vmr.methods.build import build_network
from vmr.model.prediction import ProposalPrediction

METHODS = [name for name, method in ONE_OF_EACH.items() if not method.exchanged]
# ../shared/reference/systems.md, section 0, 14: clamped moments of Charades-STA's test; steps, how many count, R@1.
KNOWN = {
    "ctrl": (128, 58, (99.9, 99.8, 99.1)),
    "mllc": (128, 36, (99.9, 99.4, 85.3)),
    "man": (128, 31, (100.0, 96.1, 61.7)),
    "tan_2d": (128, 136, (100.0, 100.0, 99.6)),
    "tga": (128, 9, (99.9, 87.7, 55.2)),
    "logan": (128, 29, (99.9, 99.3, 96.3)),
    "scn": (200, 708, (99.9, 99.8, 99.1)),
    "mlvi": (64, 768, (100.0, 100.0, 100.0)),  # ours may begin before the video, those counted there do not
}


@pytest.mark.parametrize("method", METHODS)
def test_answers_are_candidates_where_these_are_not_moved(method: str) -> None:
    steps = [7, 1, 20]
    batch, network = make_batch(steps, [4, 1, 6]), make_network(method)
    with torch.no_grad():
        offered, prediction = network.candidates(batch.step_counts, max(steps)), network(batch)
    if offered is None:
        return
    assert isinstance(prediction, ProposalPrediction)
    for row, (share, mask) in enumerate(zip(*offered, strict=True)):
        assert mask.any() and (share[mask, 1] > share[mask, 0]).all()
        alone, alone_mask = network.candidates(batch.step_counts[row : row + 1], steps[row])
        torch.testing.assert_close(alone[alone_mask], share[mask])  # neither batch mates nor padding count
        if not ONE_OF_EACH[method].offsets:
            answers = prediction.share[row, prediction.valid_mask[row]]
            nearest = (answers[:, None] - share[mask].to(answers.dtype)).abs().amax(dim=2).amin(dim=1)
            assert nearest.max() < 1e-6


@pytest.mark.parametrize("method", KNOWN)
def test_the_best_candidates_reach_what_is_known(shared_data, method: str) -> None:
    steps, count, known = KNOWN[method]
    network = build_network(method=method, **SIZES | {"max_steps": steps})
    share, mask = network.candidates(torch.tensor([steps]), steps)
    candidates = share[mask].double().clamp(0, 1).numpy()
    assert len(candidates) == count
    folder = shared_data / "charades_sta"
    with (folder / "Charades_v1_test.csv").open(newline="") as file:
        length = {row["id"]: float(row["length"]) for row in csv.DictReader(file)}
    moments = [line.split("##")[0].split() for line in (folder / "charades_sta_test.txt").read_text().splitlines()]
    truth = np.array([[min(float(at) / length[name], 1.0) for at in span] for name, *span in moments])
    found = average(query_scores([best_of(candidates, own) for own in truth], truth=truth))
    assert [found[f"R@1,IoU={threshold}"] for threshold in (0.3, 0.5, 0.7)] == pytest.approx(known, abs=0.06)
