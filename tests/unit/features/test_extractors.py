import numpy as np
import pytest
import torch
from extracting import extractor_of
from safetensors.torch import save_file
from torch import nn

from vmr.config.feature_sections import ExtractorSettings
from vmr.errors import FeatureError
from vmr.features.backbones import Backbone, BackboneClips
from vmr.features.clips import plan_windows
from vmr.features.extractors import build_extractor
from vmr.features.i3d import I3dClips, InceptionI3d, fold_batch_norm
from vmr.features.networks import Network
from vmr.features.pytorchvideo_calls import resnet50
from vmr.machine.precision import choose_dtype, has_native_bfloat16


@pytest.fixture
def small_i3d(fresh_i3d):
    """An extractor of I3D with random weights on crops of 32 pixels, by mode."""
    network = Network(fold_batch_norm(fresh_i3d), I3dClips(), 1024, None, None, 32, {})

    def build(mode="windows", **changed):
        return extractor_of(network, mode=mode, **{"batch_size": 3} | changed)

    return build


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(1).integers(0, 256, (60, 34, 40, 3), dtype=np.uint8)


def encode(extractor, frames):
    plan = extractor.plan(len(frames))
    pieces = list(extractor.pieces([frames[:25], frames[25:]], plan))
    encoder = extractor.encoder(plan)
    return torch.cat([encoder.push(torch.from_numpy(p), last=i == len(pieces) - 1) for i, p in enumerate(pieces)])


def window_by_window(extractor, frames):
    cropped = torch.from_numpy(frames[:, 1:33, 4:36]).permute(3, 0, 1, 2)
    plan = plan_windows(len(frames), window=extractor.window, stride=extractor.stride, padding="edge")
    rows = []
    for k in range(plan.steps):
        seen = (torch.arange(plan.window) + plan.first_frame + plan.stride * k).clamp(0, len(frames) - 1)
        rows.append(extractor.run(cropped[None, :, seen]))
    return torch.cat(rows)


def test_windows_that_share_layers_are_exact(small_i3d, frames):
    extractor = small_i3d()
    assert extractor.shares_windows
    features = encode(extractor, frames)
    assert features.shape == (8, 1024)
    torch.testing.assert_close(features, window_by_window(extractor, frames), rtol=1e-4, atol=1e-5)


def test_frames_between_windows_far_apart_take_no_memory(small_i3d, frames):
    extractor = small_i3d(window=16, stride=22, batch_size=2)
    pieces = list(extractor.pieces([frames[:25], frames[25:]], extractor.plan(len(frames))))
    assert [len(piece) for piece in pieces] == [32, 16]
    torch.testing.assert_close(encode(extractor, frames), window_by_window(extractor, frames), rtol=1e-4, atol=1e-5)


def test_windows_without_sharing_and_a_single_step(small_i3d, frames):
    plain = small_i3d(stride=60)
    assert not plain.shares_windows and encode(plain, frames).shape == (1, 1024)
    torch.testing.assert_close(
        encode(small_i3d(), frames[:5]), window_by_window(small_i3d(), frames[:5]), rtol=1e-4, atol=1e-5
    )


def test_continuous_is_near_the_windows_and_equal_in_any_pieces(small_i3d, frames):
    features = encode(small_i3d("continuous"), frames)
    torch.testing.assert_close(features, encode(small_i3d("continuous", batch_size=40), frames), rtol=1e-4, atol=1e-5)
    cosine = torch.cosine_similarity(features, window_by_window(small_i3d(), frames))
    assert features.shape == (8, 1024) and cosine.min() > 0.9


def test_i3d_sees_smaller_pictures_where_it_is_asked_to(fresh_i3d, frames):
    """Of 256 pixels for 224, 110 for 96: no other network and no other scale."""
    smaller = extractor_of(Network(fresh_i3d, I3dClips(), 1024, 256, None, 224, {"feature": "mean"}), crop=96)
    own = extractor_of(Network(fresh_i3d, I3dClips(), 1024, 110, None, 96, {}))
    torch.testing.assert_close(encode(smaller, frames[:9]), encode(own, frames[:9]))
    made = smaller.describe()
    assert (made["crop"], made["resize"], made["feature"]) == ("centre 96", "short side 110, bilinear", "mean")
    with pytest.raises(FeatureError, match=r"slow_r50: .* 224x224 .* found crop 96"):
        extractor_of(Network(nn.Identity(), I3dClips(), 1, 256, None, 224, {}), name="slow_r50", window=8, crop=96)


@pytest.mark.skipif(not has_native_bfloat16(torch.device("cpu")), reason="no native bfloat16 here")
def test_bfloat16_is_faithful(small_i3d, frames):
    # float32 first: an extractor converts its network in place.
    vectors = {dtype: encode(small_i3d(dtype=dtype), frames) for dtype in (torch.float32, torch.bfloat16)}
    assert vectors[torch.bfloat16].dtype == torch.float32
    assert torch.cosine_similarity(vectors[torch.float32], vectors[torch.bfloat16]).min() > 0.999


def test_batches_are_halved_when_memory_runs_out(frames):
    class Small(nn.Module):
        seen: list[int] = []  # noqa: RUF012

        def forward(self, clips):
            self.seen.append(len(clips))
            if len(clips) > 2:
                raise torch.cuda.OutOfMemoryError
            return clips.flatten(1).mean(1, keepdim=True)

    network = Network(Small(), I3dClips(), 1, None, None, 8, {})
    extractor = extractor_of(network, name="slow_r50", window=8, batch_size=8)
    assert encode(extractor, frames).shape == (8, 1)
    assert Small.seen == [8, 4, 2, 2, 2, 2] and extractor.batch_size == 2


@pytest.mark.parametrize("mode", ["continuous", "windows"])
def test_pieces_are_halved_when_memory_runs_out(small_i3d, fresh_i3d, frames, mode):
    expected = encode(small_i3d(mode), frames)
    extractor = small_i3d(mode)
    lengths, failures = [], []

    def fails_on_long_pieces(module, arguments):
        # The third stage, so that the streams before it have already taken the piece when the memory ends.
        if arguments[0].shape[2] > 24:
            failures.append(arguments[0].shape[2])
            raise torch.cuda.OutOfMemoryError
        lengths.append(arguments[0].shape[2])

    hook = fresh_i3d.Mixed_3b.register_forward_pre_hook(fails_on_long_pieces)
    try:
        features = encode(extractor, frames)
    finally:
        hook.remove()
    assert failures and max(lengths) <= 24 and extractor.batch_size < 3
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_a_piece_too_large_is_an_error(small_i3d, fresh_i3d, frames):
    def fail(module, arguments):
        raise torch.cuda.OutOfMemoryError

    extractor = small_i3d("continuous")
    hook = fresh_i3d.Conv3d_1a_7x7.register_forward_pre_hook(fail)
    try:
        with pytest.raises(FeatureError, match=r"i3d: a piece of \d+ frames does not fit the memory of cpu"):
            encode(extractor, frames)
    finally:
        hook.remove()


def test_one_window_too_large_is_an_error(frames):
    class Full(nn.Module):
        def forward(self, clips):
            raise torch.cuda.OutOfMemoryError

    network = Network(Full(), I3dClips(), 1, None, None, 8, {})
    with pytest.raises(FeatureError, match="one window does not fit the memory of cpu"):
        encode(extractor_of(network, name="slow_r50", window=8, batch_size=2), frames)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("i3d", {"mode": "continuous", "stride": 12}, "multiples of 8 frames, found 64 and 12"),
        ("i3d", {"window": 8}, "at least 9 frames, found 8"),
        ("c3d", {"window": 64}, "a window has 16 frames, found 64"),
        ("slow_r50", {"mode": "continuous"}, "only i3d has the mode"),
    ],
)
def test_contradicting_options_are_refused(name, options, said):
    module = InceptionI3d(num_classes=1) if name == "i3d" else nn.Identity()
    with pytest.raises(FeatureError, match=said):
        extractor_of(Network(module, I3dClips(), 1, None, None, 8, {}), name=name, **options)


def build(name, weights, **settings):
    return build_extractor(name, ExtractorSettings(weights=str(weights), **settings), device=torch.device("cpu"))


def test_weights_must_be_there_and_precisions_are_chosen(tmp_path):
    with pytest.raises(FeatureError, match="the weights are not there"):
        build("i3d", tmp_path / "absent.safetensors", window=64, stride=8)
    assert choose_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_i3d_is_built_from_a_file(tmp_path):
    torch.manual_seed(0)
    save_file(InceptionI3d().state_dict(), tmp_path / "w.safetensors", metadata={"source": "a test"})
    extractor = build("i3d", tmp_path / "w.safetensors", window=64, stride=8, dtype="float32")
    about = extractor.describe()
    assert about["weights"]["origin"] == "a test" and len(about["weights"]["sha256"]) == 64
    assert about["crop"] == "centre 224" and about["resize"].startswith("short side 256") and about["dim"] == 1024


@pytest.mark.parametrize("form", ["prepared.safetensors", "raw.pt"])
def test_weights_fine_tuned_on_other_classes_are_taken(tmp_path, form):
    """I3D of Charades has 157 classes, of a larger Kinetics 600: no feature comes from them."""
    torch.manual_seed(0)
    clips = torch.randint(0, 256, (1, 3, 16, 32, 32), dtype=torch.uint8)
    state = InceptionI3d(num_classes=157).state_dict()
    headless = {key: value for key, value in state.items() if not key.startswith("logits.")}
    kinetics = InceptionI3d().state_dict()
    heads = (state, {key: headless.get(key, value) for key, value in kinetics.items()}, headless)
    features = []
    for number, weights in enumerate(heads):
        path = tmp_path / f"{number}_{form}"
        if path.suffix == ".pt":
            torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, path)
        else:
            save_file(weights, path)
        features.append(build("i3d", path, window=16, stride=8, dtype="float32").run(clips))
    assert torch.equal(features[0], features[1]) and torch.equal(features[0], features[2])


@pytest.mark.parametrize(
    ("name", "size", "crop"),
    [
        ("i3d", (256, 340), 224),
        ("c3d", (128, 171), 112),
        ("i3d_r50", (256, 340), 256),
        ("slow_r50", (256, 340), 256),
    ],
)
def test_each_network_sees_the_centre_of_its_own_size(tmp_path, monkeypatch, name, size, crop):
    monkeypatch.setattr("vmr.features.weights.load_into", lambda *_, **__: {})
    (tmp_path / "w").write_bytes(b"")
    window = 16 if name == "c3d" else 64
    extractor = build(name, tmp_path / "w", window=window, stride=8)
    ramps = np.linspace(0, 250, size[0])[:, None], np.linspace(250, 0, size[1])[None]
    picture = np.stack(np.broadcast_arrays(*ramps, 99), axis=-1).astype(np.uint8)[None]
    top, left = (size[0] - crop) // 2, (size[1] - crop) // 2
    expected = picture[:, top : top + crop, left : left + crop]
    np.testing.assert_array_equal(extractor.cropped(picture), expected)
    # Of twice the size it is brought down to its own first.
    found = extractor.cropped(picture.repeat(2, axis=1).repeat(2, axis=2))
    assert found.shape == (1, crop, crop, 3) and np.abs(found.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("name", ["i3d_r50", "slow_r50"])
def test_pytorchvideos_backbones_give_2048_numbers(tmp_path, name):
    torch.manual_seed(0)
    model = resnet50(name)
    # The checkpoints of pytorchvideo's model zoo wrap the state dict so; this one was fine-tuned on 157 classes.
    head = f"blocks.{len(model.blocks) - 1}.proj"
    tuned = {f"{head}.weight": torch.zeros(157, 2048), f"{head}.bias": torch.zeros(157)}
    torch.save({"model_state": model.state_dict() | tuned}, tmp_path / "w.pyth")
    extractor = build(name, tmp_path / "w.pyth", window=64, stride=64, dtype="float32")
    clips = torch.randint(0, 256, (1, 3, 64, 32, 32), dtype=torch.uint8)
    features = extractor.run(clips)
    with torch.inference_mode():
        ours = Backbone(model.eval())(BackboneClips()(clips))
    assert features.shape == (1, 2048)
    torch.testing.assert_close(features, ours, rtol=1e-4, atol=1e-5)


def test_backbones_see_eight_frames_of_the_window():
    clips = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 64, 1, 1).expand(1, 3, 64, 1, 1)
    ready = BackboneClips()(clips)
    seen = (ready[0, 0, :, 0, 0] * 0.225 + 0.45) * 255
    # The middle frame of each eighth of 64.
    assert seen.round().tolist() == [4, 12, 20, 28, 36, 44, 52, 60]


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(fresh_i3d, frames):
    vectors = []
    network = Network(fold_batch_norm(fresh_i3d), I3dClips(), 1024, None, None, 32, {})
    for device in ("cpu", "cuda"):
        extractor = extractor_of(network, device=device, batch_size=3)
        plan = extractor.plan(len(frames))
        pieces = [torch.from_numpy(p).to(device) for p in extractor.pieces([frames], plan)]
        encoder = extractor.encoder(plan)
        vectors.append(torch.cat([encoder.push(p, last=p is pieces[-1]) for p in pieces]).cpu())
    assert torch.cosine_similarity(*vectors).min() > 0.999
