"""What holds for the network of every method of the catalogue."""

from dataclasses import replace

import pytest
import torch
from networks import ONE_OF_EACH, SIZES, make_batch, make_network, outputs, overfitting, single, take, targets_of
from torch import Tensor
from toy_methods import TOYS

from vmr.methods.build import build_network
from vmr.methods.catalogue import METHODS
from vmr.model.batch import Batch
from vmr.model.fusion import ALIGNMENTS
from vmr.model.prediction import ProposalPrediction

# The readings of Eqs. 7 to 9 are other computations, so each counts as a network.
# Those that live in tests only are held to the same.
ALL = ONE_OF_EACH | TOYS
NETWORKS = [
    (name, {"alignment": alignment})
    for name, method in ALL.items()
    for alignment in (ALIGNMENTS if "alignment" in method.settings.model_fields and not method.exchanged else ())
] + [(name, {}) for name, method in ALL.items() if "alignment" not in method.settings.model_fields]
every_network = pytest.mark.parametrize(("method", "own"), NETWORKS)
WIDE = {"hidden": 64, "query_hidden": 32, "heads": 4}
LABELS = torch.tensor([[1, 2], [3, 8]])


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, method in TOYS.items():
        monkeypatch.setitem(METHODS, name, method)


@every_network
def test_padding_and_batch_mates_change_nothing(method: str, own: dict) -> None:
    steps, words, turned = [7, 2, 16, 5], [4, 2, 9, 1], [2, 0, 3, 1]
    batch, network = make_batch(steps, words), make_network(method, **own)
    with torch.no_grad():
        together, padded, shuffled = (
            network(each) for each in (batch, make_batch(steps, words, extra=4), take(batch, turned))
        )
        for row, n in enumerate(steps):
            alone = outputs(network(take(batch, [row])), 0, n)
            for found, place in ((together, row), (padded, row), (shuffled, turned.index(row))):
                # Kernels for matrices of another height may add in another order: a few units in the last place.
                torch.testing.assert_close(outputs(found, place, n), alone, rtol=1e-12, atol=1e-13)


@every_network
def test_garbage_in_the_padding_changes_nothing(method: str, own: dict) -> None:
    batch, network = make_batch([7, 2], [4, 2]), make_network(method, **own)
    with torch.no_grad():
        clean = network(batch)
        batch.features[1, 2:] = 1e6
        batch.words[1, 2:] = -1e6
        assert torch.equal(outputs(clean, 1, 2), outputs(network(batch), 1, 2))


@every_network
def test_queries_of_one_video_share_it(method: str, own: dict) -> None:
    batch, network = make_batch([7, 2, 7], [4, 2, 3]), make_network(method, **own)
    batch.features[2] = batch.features[0]
    with torch.no_grad():
        apart = network(batch)
        shared = network(replace(batch, features=batch.features[:2], video=torch.tensor([0, 1, 0])))
    for row, n in enumerate([7, 2, 7]):
        torch.testing.assert_close(outputs(shared, row, n), outputs(apart, row, n), rtol=1e-12, atol=1e-13)


@every_network
def test_spans_need_no_more_than_what_is_left_when_only_they_are_asked_for(method: str, own: dict) -> None:
    network, batch = make_network(method, **own), make_batch([7, 1, 20, 3], [4, 2, 1, 6])
    begin = torch.arange(20.0).expand(4, -1)
    with torch.inference_mode():
        everything, spans = network(batch), network(replace(batch, spans_only=True))
    for top in (1, 3):
        expected, found = (x.ranked(begin, begin + 1, top=top) for x in (everything, spans))
        assert torch.equal(found.span_sec, expected.span_sec) and torch.equal(found.score, expected.score)
    assert getattr(spans, "inside", None) is None or method == "vslnet"  # computed for nothing otherwise


@every_network
def test_every_weight_learns(method: str, own: dict) -> None:
    # Wide enough that no layer's rectifiers are all off by chance.
    network, batch = make_network(method, hidden=32, **own).train(), make_batch([7, 9], [4, 5])
    batch.unknown_mask[0, 0] = True
    trained: set[str] = set()
    for stage in METHODS[method].stages:
        network.zero_grad()
        network.training_loss(batch, targets_of(batch, LABELS, method=method), stage=stage.name).total.backward()
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad or not name.startswith(stage.trained):
                continue
            trained.add(name)
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            # A bias of keys shifts all scores of a softmax alike, and "cross" of MHA has no values of Eq. 8.
            if not name.endswith("bias") and not (method == "mha" and "steps_to_words" in name):
                assert parameter.grad.abs().sum() > 0, name
    left = {name for name, parameter in network.named_parameters() if parameter.requires_grad} - trained
    assert not left, "no stage trains these"


@pytest.mark.parametrize("method", [name for name, own in ALL.items() if not own.exchanged])
def test_gradients(method: str) -> None:
    network = make_network(method, hidden=4, query_hidden=2, dropout=0.0, lstm_dropout=0.0)
    if not network.exact_gradient:
        pytest.skip("its gradient is that of chances, not of the loss; its own tests look at it")
    batch, labels = make_batch([4, 2], [3, 2]), torch.tensor([[1, 2], [0, 1]])
    targets = targets_of(batch, labels, torch.tensor([[0.2, 0.7], [0.0, 0.9]]), method=method)

    def loss(features: Tensor, words: Tensor) -> Tensor:
        return network.losses(network(replace(batch, features=features, words=words)), targets).total

    inputs = (batch.features.requires_grad_(), batch.words.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)


@pytest.mark.parametrize(
    ("method", "own"), [(name, own) for name, own in NETWORKS if name not in TOYS and not METHODS[name].exchanged]
)
def test_overfits_four_samples(method: str, own: dict) -> None:
    losses = []
    for network, batch, targets in overfitting(method, **own):
        if not network.exact_gradient:
            pytest.skip("its own tests look at what it learns")
        with torch.no_grad():
            prediction = network(batch)
            losses.append(float(network.losses(prediction, targets).total))
        if METHODS[method].supervision == "pairs":
            right = losses[-1] < 0.5 * losses[0]
        else:
            edges = torch.arange(13.0).expand(4, -1)
            best = prediction.ranked(edges[:, :-1] * batch.step_mask, edges[:, 1:] * batch.step_mask).span_sec[:, 0]
            clips = getattr(METHODS[method].settings(), "clips", 20)  # a grid's ends are at most half a clip away
            right = torch.allclose(best, (targets.labels + torch.tensor([0, 1])).float(), rtol=0, atol=6 / clips)
        assert not right or len(losses) > 1, "before any step"
        if right:
            return
    pytest.fail(f"losses after every 25 steps: {losses}")


@every_network
def test_bfloat16_stays_near(method: str, own: dict) -> None:
    network, batch = make_network(method, **own).float(), single(make_batch([7, 9], [4, 5]))
    with torch.no_grad():
        exact = network(batch)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(batch)
    for name, curve in rough.curves().items():
        assert curve.dtype == torch.float32
        far = ~torch.isclose(curve, exact.curves()[name], rtol=0.1, atol=0.05)
        # The curve of proposals jumps where the end of a span crosses the middle of a step.
        assert far.float().mean() <= (0.1 if isinstance(rough, ProposalPrediction) else 0.0)
    found, expected = (
        each.ranked(torch.arange(9.0).expand(2, -1), torch.arange(9.0).expand(2, -1) + 1) for each in (rough, exact)
    )
    if METHODS[method].one_span:
        assert found.steps is None and bool((found.score == 1).all())
        torch.testing.assert_close(found.span_sec, expected.span_sec, rtol=0.1, atol=0.5)


@pytest.mark.parametrize("method", ALL)
def test_new_networks_tell_steps_apart(method: str) -> None:
    # Steps whose rows began alike kept MHA on a plateau (docs/ablation.md).
    torch.manual_seed(0)
    batch, network = single(make_batch([16] * 9, [8] * 9)), build_network(method=method, **SIZES | WIDE).eval()
    # Words of sentences have much in common, as in real ones.
    batch.words.mul_(0.2).add_(0.5 * torch.randn(SIZES["word_dim"]))
    network.fit_features(list(batch.features))
    differing: dict[str, float] = {}

    def size(x: Tensor) -> float:
        return float(x.detach().square().mean().sqrt())

    def watch(name: str, taken: tuple, rows: object) -> None:
        if name == "positions":
            differing[name] = size(rows - taken[0]) / size(taken[0])
        elif isinstance(rows, Tensor) and rows.ndim > 2 and rows.shape[-2] == 16 and rows.shape[-1] >= 32:  # no scores
            differing[name] = size(rows - rows.mean(dim=-2, keepdim=True)) / size(rows)

    for name, module in network.named_children():
        module.register_forward_hook(lambda _, taken, rows, name=name: watch(name, taken, rows))
    network(batch)
    assert all(share > 0.05 for share in differing.values()), differing


def test_impossible_inputs_are_refused() -> None:
    batch = make_batch([4, 2], [3, 2])
    with pytest.raises(ValueError, match="at least one word"):
        replace(batch, word_counts=torch.tensor([3, 0]))
    with pytest.raises(ValueError, match="at least one step"):
        replace(batch, step_counts=torch.tensor([4, 0]))


def test_wrong_shapes_are_seen_at_run_time() -> None:
    batch = make_batch([4, 2], [3, 2])
    with pytest.raises(Exception, match=r"(?i)type"):
        replace(batch, words=batch.words[:1])
    with pytest.raises(Exception, match=r"(?i)type"):
        make_network("ci_mha")(vars(batch))
    assert isinstance(batch, Batch)
