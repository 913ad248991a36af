"""The network against the independent numpy version, and what must not change its answers."""

import itertools

import numpy as np
import pytest
import torch
from reference import ci_mha_reference as reference
from torch import Tensor

from vmr.methods.ci_mha import METHODS, CiMha
from vmr.model.fusion import ALIGNMENTS
from vmr.model.losses import moment_loss
from vmr.model.prediction import BoundaryPrediction

SIZES = {"video_dim": 10, "word_dim": 5, "max_steps": 16, "hidden": 8, "query_hidden": 6, "heads": 4}
COMBINATIONS = list(itertools.product(METHODS, ALIGNMENTS))


def make_model(method: str = "ci_mha", alignment: str = "attention", *, seed: int = 0, **sizes: float) -> CiMha:
    torch.manual_seed(seed)
    model = CiMha(method=method, alignment=alignment, **{**SIZES, **sizes}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # Biases and positions begin near zero: make them count.
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.video_encoder.fit([torch.randn(9, SIZES["video_dim"]) * torch.arange(1, 11) + 2])
    return model


def make_inputs(steps: list[int], words: list[int], *, seed: int = 0, extra: int = 0) -> dict[str, Tensor]:
    """Padded random inputs; `extra` adds padding that is not needed."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.zeros(len(steps), max(steps) + extra, SIZES["video_dim"], dtype=torch.float64)
    vectors = torch.zeros(len(words), max(words) + extra, SIZES["word_dim"], dtype=torch.float64)
    unknown = torch.zeros(vectors.shape[:2], dtype=torch.bool)
    for row, (n, m) in enumerate(zip(steps, words, strict=True)):
        features[row, :n] = torch.randn(n, features.shape[2], generator=generator, dtype=torch.float64)
        vectors[row, :m] = torch.randn(m, vectors.shape[2], generator=generator, dtype=torch.float64)
        unknown[row, :m] = torch.rand(m, generator=generator) < 0.3
    vectors[unknown] = 0
    return {
        "features": features, "step_counts": torch.tensor(steps), "words": vectors, "unknown_mask": unknown,
        "word_counts": torch.tensor(words),
    }  # fmt: skip


def take(inputs: dict[str, Tensor], rows: list[int], *, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """The items of the given rows as their own batch, without superfluous padding."""
    taken = {name: tensor[rows] for name, tensor in inputs.items()}
    taken["features"] = taken["features"][:, : int(taken["step_counts"].max())].to(dtype)
    longest = int(taken["word_counts"].max())
    taken["words"], taken["unknown_mask"] = taken["words"][:, :longest].to(dtype), taken["unknown_mask"][:, :longest]
    return taken


def outputs(prediction: BoundaryPrediction, row: int, steps: int) -> Tensor:
    parts = [prediction.start, prediction.end] + ([] if prediction.inside is None else [prediction.inside])
    return torch.stack([part[row, :steps] for part in parts])


@pytest.mark.parametrize(("method", "alignment"), COMBINATIONS)
def test_agrees_with_the_reference(method: str, alignment: str) -> None:
    # Among them: one step, one word, more words than steps, unknown words only.
    steps, words = [7, 1, 12, 3, 5], [4, 2, 1, 6, 3]
    inputs = make_inputs(steps, words)
    inputs["unknown_mask"][4, :3] = True
    labels = torch.tensor([[2, 5], [0, 0], [0, 11], [1, 1], [0, 4]])
    model = make_model(method, alignment)
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        found = model(**inputs)
        loss = moment_loss(found, labels, inputs["step_counts"], segmentation_weight=0.5)
    boundary, segmentation = [], []
    for row, (n, m) in enumerate(zip(steps, words, strict=True)):
        expected = reference.predict(
            weights, inputs["features"][row, :n].numpy(), inputs["words"][row, :m].numpy(),
            inputs["unknown_mask"][row, :m].tolist(), heads=SIZES["heads"], alignment=alignment, method=method,
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


@pytest.mark.parametrize(("method", "alignment"), COMBINATIONS)
def test_padding_and_batch_mates_change_nothing(method: str, alignment: str) -> None:
    steps, words = [7, 2, 12, 5], [4, 2, 9, 1]
    inputs, model = make_inputs(steps, words), make_model(method, alignment)
    more = make_inputs(steps, words, extra=4)
    turned = [2, 0, 3, 1]
    with torch.no_grad():
        together, padded, shuffled = model(**inputs), model(**more), model(**take(inputs, turned))
        for row, n in enumerate(steps):
            alone = outputs(model(**take(inputs, [row])), 0, n)
            others = [outputs(together, row, n), outputs(padded, row, n), outputs(shuffled, turned.index(row), n)]
            for other in others:
                # Kernels for matrices of another height may add in another order: a few units in the last place.
                torch.testing.assert_close(other, alone, rtol=1e-12, atol=1e-13)


def test_garbage_in_the_padding_changes_nothing() -> None:
    inputs, model = make_inputs([7, 2], [4, 2]), make_model()
    with torch.no_grad():
        clean = model(**inputs)
        inputs["features"][1, 2:] = 1e6
        inputs["words"][1, 2:] = -1e6
        dirty = model(**inputs)
    assert torch.equal(outputs(clean, 1, 2), outputs(dirty, 1, 2))


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_queries_of_one_video_share_its_attention(alignment: str) -> None:
    inputs, model = make_inputs([7, 2, 7], [4, 2, 3]), make_model(alignment=alignment)
    inputs["features"][2] = inputs["features"][0]
    with torch.no_grad():
        apart = model(**inputs)
        shared = model(**{**inputs, "features": inputs["features"][:2], "video": torch.tensor([0, 1, 0])})
    for row, n in enumerate([7, 2, 7]):
        torch.testing.assert_close(outputs(shared, row, n), outputs(apart, row, n), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("method", "alignment"), COMBINATIONS)
def test_every_weight_learns(method: str, alignment: str) -> None:
    model, inputs = make_model(method, alignment).train(), make_inputs([7, 9], [4, 5])
    inputs["unknown_mask"][0, 0] = True
    loss = moment_loss(model(**inputs), torch.tensor([[1, 2], [3, 8]]), inputs["step_counts"])
    loss.total.backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert "steps_to_words" in name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias of keys shifts all scores of a softmax alike, and "cross" without Eq. 8's results has no values.
        if not name.endswith("bias") and not (method == "mha" and "steps_to_words" in name):
            assert parameter.grad.abs().sum() > 0, name


def test_gradients() -> None:
    model = make_model(hidden=4, query_hidden=2, heads=2, dropout=0.0, lstm_dropout=0.0)
    inputs = make_inputs([4, 2], [3, 2])

    def loss(features: Tensor, words: Tensor) -> Tensor:
        prediction = model(**{**inputs, "features": features, "words": words})
        return moment_loss(prediction, torch.tensor([[1, 2], [0, 1]]), inputs["step_counts"]).total

    tensors = inputs["features"].requires_grad_(), inputs["words"].requires_grad_()
    assert torch.autograd.gradcheck(loss, tensors)


@pytest.mark.parametrize(
    ("method", "alignment"),
    [("ci_mha", "attention"), ("ci_mha", "cross"), ("ci_mha", "pad"), ("mha", "attention"), ("ci_mha_wo_ms", "pad")],
)
def test_overfits_four_samples(method: str, alignment: str) -> None:
    torch.manual_seed(0)
    sizes = {**SIZES, "hidden": 32, "query_hidden": 16, "dropout": 0.0, "lstm_dropout": 0.0}
    model = CiMha(method=method, alignment=alignment, **sizes)
    inputs = take(make_inputs([9, 9, 12, 6], [4, 6, 5, 3]), [0, 1, 2, 3], dtype=torch.float32)
    inputs["features"][1] = inputs["features"][0]  # The same video: only the words tell the moments apart.
    labels = torch.tensor([[1, 3], [5, 8], [0, 11], [4, 4]])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = moment_loss(model(**inputs), labels, inputs["step_counts"])
        loss.total.backward()
        optimizer.step()
    found = model.eval()(**inputs)
    assert torch.equal(torch.stack([found.start.argmax(1), found.end.argmax(1)], dim=1), labels)
    if found.inside is not None:
        assert torch.equal((found.inside[2] > 0).nonzero().ravel(), torch.arange(12))


def test_widths_that_heads_do_not_divide() -> None:
    # C3D's 500 numbers and 8 heads.
    model = CiMha(method="ci_mha", video_dim=500, word_dim=5, hidden=8, query_hidden=3, heads=8).eval()
    found = model(
        torch.randn(1, 3, 500), torch.tensor([3]), torch.randn(1, 2, 5), torch.zeros(1, 2).bool(), torch.tensor([2])
    )
    assert found.start.shape == (1, 3)


def test_bfloat16_stays_near() -> None:
    model, inputs = make_model().float(), take(make_inputs([7, 9], [4, 5]), [0, 1], dtype=torch.float32)
    with torch.no_grad():
        exact = model(**inputs)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(**inputs)
    assert rough.start.dtype == torch.float32
    torch.testing.assert_close(rough.start.softmax(1), exact.start.softmax(1), rtol=0.1, atol=0.05)


def test_impossible_inputs_are_refused() -> None:
    model, inputs = make_model(), make_inputs([4, 2], [3, 2])
    with pytest.raises(ValueError, match="at least one word"):
        model(**{**inputs, "word_counts": torch.tensor([3, 0])})
    with pytest.raises(ValueError, match="at least one step"):
        model(**{**inputs, "step_counts": torch.tensor([4, 0])})
    with pytest.raises(ValueError, match="16 at most"):
        model(**make_inputs([17], [2]))
    with pytest.raises(ValueError, match="even"):
        make_model(hidden=7)


def test_wrong_shapes_are_seen_at_run_time() -> None:
    inputs = make_inputs([4, 2], [3, 2])
    with pytest.raises(Exception, match=r"(?i)type"):
        make_model()(**{**inputs, "words": inputs["words"][:1]})
