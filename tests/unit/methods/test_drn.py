"""DRN: its places and positives by hand, its losses against a slow twin, and its stages."""

import pytest
import torch
from networks import arrays_of, make_batch, make_network, targets_of
from reference import drn_reference as reference

from vmr.methods.catalogue import METHODS
from vmr.methods.drn import distance_loss, true_distances

STEPS, WORDS = [7, 1, 20], [4, 1, 6]


def test_positive_places_by_hand() -> None:
    moments = torch.tensor([[8.0, 16.0], [4.0, 28.0], [3.6, 4.4]], dtype=torch.float64) / 32
    distances, positive = true_distances(moments)
    place = torch.tensor([where for where, _, _ in reference.places()]).double()
    assert len(place) == 32 + 16 + 8
    found = [(float(place[i]), *distances[0, i].tolist()) for i in positive[0].nonzero().flatten()]
    assert found == [
        (10.5, 2.5, 5.5),
        (11.5, 3.5, 4.5),
        (12.5, 4.5, 3.5),
        (13.5, 5.5, 2.5),
        (9.0, 1.0, 7.0),
        (15.0, 7.0, 1.0),
    ]
    found = [(float(place[i]), *distances[1, i].tolist()) for i in positive[1].nonzero().flatten()]
    assert [where for where, _, _ in found] == [6.0, 10.0, 14.0, 18.0, 22.0, 26.0] and found[0][1:] == (2.0, 22.0)
    assert not positive[2].any()  # shorter than a part, with no place inside


def test_distance_loss_by_hand() -> None:
    found, true = torch.tensor([[2.0, 4.0], [2.0, 4.0]]), torch.tensor([[3.0, 3.0], [-1.0, 3.0]])
    assert distance_loss(found, true).tolist() == pytest.approx([0.33647, 0.0], abs=1e-5)


@pytest.mark.parametrize("overlap_from", [0.9, 0.1])
def test_losses_and_commands_agree_with_the_reference(overlap_from: float) -> None:
    batch, network = make_batch(STEPS, WORDS), make_network("drn", overlap_from=overlap_from)
    share = torch.tensor([[0.3, 0.8], [0.01, 0.02], [0.1, 0.9]], dtype=torch.float64)
    with torch.no_grad():
        found = network(batch)
        loss = network.losses(found, targets_of(batch, torch.zeros(3, 2).long(), share, method="drn"))
        words = network.query_encoder(batch.words, batch.unknown_mask, batch.word_counts)
        commands = network.commands(words, batch)
    weights = arrays_of(network)
    queries = []
    for row, count in enumerate(WORDS):
        values = {name: getattr(found, name)[row] for name in ("match", "overlap", "distances")}
        queries.append(
            {
                "moment": tuple(share[row].tolist()),
                "match": values["match"].sigmoid().tolist(),
                "overlap": values["overlap"].sigmoid().tolist(),
                "distances": values["distances"].tolist(),
            }
        )
        expected = reference.commands(weights, list(words[row, :count].numpy()))
        for level in range(3):
            torch.testing.assert_close(commands[level][row], torch.from_numpy(expected[level]))
        score = (values["match"].sigmoid() * values["overlap"].sigmoid()).sqrt()
        torch.testing.assert_close(found.score[row].sigmoid(), score)
    expected = reference.losses(queries, overlap_from=overlap_from)
    assert [float(part) for part in loss.parts.values()] == pytest.approx(expected, rel=1e-9)


def test_without_positives_the_losses_are_numbers() -> None:
    batch, network = make_batch([7], [4]), make_network("drn")
    share = torch.tensor([[0.11, 0.12]], dtype=torch.float64)
    loss = network.losses(network(batch), targets_of(batch, torch.zeros(1, 2).long(), share, method="drn"))
    loss.total.backward()
    assert loss.parts["span"].item() == loss.parts["overlap"].item() == 0.0
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_stages_divide_the_weights_and_the_first_knows_no_overlap() -> None:
    network, batch = make_network("drn").train(), make_batch([7, 9], [4, 5])
    targets = targets_of(batch, torch.tensor([[1, 2], [3, 8]]), method="drn")
    stages = METHODS["drn"].stages
    names = {name for name, _ in network.named_parameters()}
    first, second, third = ({name for name in names if name.startswith(stage.trained)} for stage in stages)
    assert first | second == names == third and not first & second
    network.training_loss(batch, targets, stage="spans").total.backward()
    assert all(own.grad is None or not own.grad.any() for name, own in network.named_parameters() if name in second)


def test_an_untrained_overlap_leaves_the_order_to_the_match() -> None:
    network, batch = make_network("drn"), make_batch([9, 5], [3, 4])
    for parameter in network.overlap[-1].parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        found = network(batch)
    assert torch.equal(found.score.argsort(dim=1), found.match.argsort(dim=1))
