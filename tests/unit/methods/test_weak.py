"""Methods that learn from pairs: against slow twins, by hand, and blind to every training span."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from networks import ONE_OF_EACH, arrays_of, inputs_of, make_batch, make_network, targets_of
from reference import weak_reference as reference
from synthetic import assert_same, record, train_run, weights, write_synthetic

from vmr.annotations.moments import read_moments, write_moments
from vmr.model.losses import ranking_loss

STEPS, WORDS = [7, 1, 20], [4, 1, 6]
WEAK = [name for name, method in ONE_OF_EACH.items() if method.supervision == "pairs"]
SMALL = {"hidden": 8, "query_hidden": 4, "heads": 2, "batch_size": 16, "epochs": 2, "device": "cpu"}


@pytest.mark.parametrize("method", WEAK)
def test_permuted_spans_leave_every_bit_of_the_weights(tmp_path: Path, method: str) -> None:
    data = write_synthetic(tmp_path, train_videos=8, test_videos=2)
    train_run(**data.inputs(), output_dir=tmp_path / "own", method=method, **SMALL)
    table = read_moments(data.moments)
    train = table["split"] == "train"
    order = np.random.default_rng(0).permutation(int(train.sum()))
    spans = table.loc[train, ["start_sec", "end_sec"]].to_numpy()[order]
    longest = table.loc[train].groupby("video_id")["end_sec"].transform("max").to_numpy()
    table.loc[train, ["start_sec", "end_sec"]] = np.minimum(spans, longest[:, None] - [[1.0, 0.0]])
    write_moments(table, tmp_path / "moments.csv")
    train_run(**data.inputs(moments=tmp_path / "moments.csv"), output_dir=tmp_path / "other", method=method, **SMALL)
    assert_same(weights(tmp_path / "own"), weights(tmp_path / "other"))
    run, history = record(tmp_path / "own"), pd.read_csv(tmp_path / "own" / "history.csv")
    assert run["chosen_epoch"] == int(history["validation_loss"].idxmin()) + 1
    assert run["reason"].startswith("lowest validation_loss")
    assert run["by_spans"] == {"epoch": int(history["mIoU"].idxmax()) + 1, "mIoU": pytest.approx(history["mIoU"].max())}


@pytest.mark.parametrize("method", WEAK)
def test_a_batch_of_one_video_has_a_loss_that_is_a_number(method: str) -> None:
    network, batch = make_network(method).train(), make_batch([7, 9], [4, 5])
    targets = targets_of(batch, torch.zeros(2, 2).long(), method=method)
    none = torch.arange(2)[:, None].expand_as(targets.negatives)
    alone = type(targets)(**vars(targets) | {"video": torch.zeros(2).long(), "negatives": none})
    loss = network.training_loss(batch, alone, stage="all").total
    loss.backward()
    assert not ONE_OF_EACH[method].negatives or loss.item() == 0.0
    assert all(own.grad is None or own.grad.isfinite().all() for own in network.parameters())


def test_ranking_loss_by_hand_and_by_the_slow_twin() -> None:
    scores = torch.tensor([[0.5, 0.4], [0.1, 0.6]])
    assert ranking_loss(scores, torch.eye(2) > 0, margin=0.2).item() == pytest.approx(0.1 / 4)
    assert ranking_loss(scores, torch.ones(2, 2) > 0, margin=0.2).item() == 0.0
    scores, video = torch.rand(5, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 2, 2])
    found = ranking_loss(scores, video[:, None] == video, margin=0.3).item()
    assert found == pytest.approx(reference.hinges(scores.tolist(), video.tolist(), 0.3))


def test_tga_agrees_with_the_reference() -> None:
    batch, network = make_batch(STEPS, WORDS), make_network("tga")
    with torch.no_grad():
        found = network(batch)
    weights = arrays_of(network)
    each = [reference.tga(weights, *inputs_of(network, batch, row, unknown="sentence_encoder")) for row in range(3)]
    for row, (logits, sentence, _) in enumerate(each):
        np.testing.assert_allclose(found.score[row], logits, rtol=1e-9)
        np.testing.assert_allclose(found.pairs[row], [sentence @ video for _, _, video in each], rtol=1e-9, atol=1e-12)


def test_equal_windows_share_tgas_attention_and_what_localises_learns() -> None:
    batch, network = make_batch([12], [3]), make_network("tga")
    batch.features[0] = batch.features[0, 0]
    score = network(batch).score
    torch.testing.assert_close(score, score[:, :1].expand_as(score))
    other, network = make_batch([12, 9], [3, 4]), make_network("tga")
    network.losses(network(other), targets_of(other, torch.zeros(2, 2).long(), method="tga")).total.backward()
    assert network.video_encoder.projection.weight.grad.abs().sum() > 0


def test_logan_agrees_with_the_reference() -> None:
    batch, network = make_batch(STEPS, WORDS), make_network("logan", passes=2, margin=0.02)
    targets = targets_of(batch, torch.zeros(3, 2).long(), method="logan")  # the next query is the negative
    with torch.no_grad():
        found = network(batch)
        loss = network.losses(found, targets).total
    weights = arrays_of(network)
    rows = [reference.logan_rows(weights, *inputs_of(network, batch, row)) for row in range(3)]
    hinges = []
    for row, (frames, words) in enumerate(rows):
        own = reference.logan(weights, frames, words, passes=2)
        np.testing.assert_allclose(found.relevance[row, : STEPS[row]], own, rtol=1e-9)
        windows = reference.logan_windows()
        np.testing.assert_allclose(found.share[row], windows, atol=1e-12)
        inside = [
            [max(0.0, min(end * len(own), i + 1) - max(start * len(own), i)) for i in range(len(own))]
            for start, end in windows
        ]
        np.testing.assert_allclose(found.score[row], [6 * reference.logan_average(own, parts) for parts in inside])
        other = rows[(row + 1) % 3]
        for pair in ((other[0], words), (frames, other[1])):
            wrong = reference.logan_average(reference.logan(weights, *pair, passes=2))
            hinges.append(max(0.0, 0.02 - reference.logan_average(own) + wrong))
    assert loss.item() == pytest.approx(np.mean(hinges)) and min(hinges) == 0.0 < max(hinges)


def test_logans_graph_without_messages_and_with_one_word() -> None:
    network, batch = make_network("logan"), make_batch([6], [1])
    words = network.of_words(network.query_encoder(batch.words, batch.unknown_mask, batch.word_counts))
    frames = torch.randn(1, 6, 8).double()
    graph, one = network.graph, torch.ones(1, 6, 1).double()
    for layer in graph.passes:
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    told = graph.of_words(torch.cat([words, frames.mean(dim=1, keepdim=True)], dim=2)).expand(-1, 6, -1)
    expected = graph.of_frames(torch.cat([frames, told], dim=2))  # no message changes a frame any more
    torch.testing.assert_close(graph(frames, words, one, one / 6, batch.step_mask), expected)
    # Each frame attends to the one word, whatever it is: relevance is the cosine with it.
    network.joint.weight.data = torch.cat([torch.eye(8), torch.zeros(8, 8)], dim=1).double()
    torch.nn.init.zeros_(network.joint.bias)
    found = network.relevance(frames, words, batch.step_mask, batch.word_mask)
    torch.testing.assert_close(found, torch.cosine_similarity(frames, words, dim=2))


def test_the_window_around_logans_relevant_frame_wins() -> None:
    network, batch = make_network("logan"), make_batch([18], [2])
    relevance = torch.zeros(1, 18).double()
    relevance[0, 7] = 1.0
    network.relevance = lambda *_: relevance
    found = network(batch)
    start, end = (found.share[0, found.score[0].argmax()] * 18).tolist()
    assert start <= 7 and end >= 8 and end - start == pytest.approx(3)  # a short one: others dilute it
