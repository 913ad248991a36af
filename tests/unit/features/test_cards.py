"""The ways of extraction on a card; all but the first need one."""

import numpy as np
import pytest
import torch
from extracting import extractor_of

from vmr.features.i3d import I3dClips, fold_batch_norm
from vmr.features.networks import Network
from vmr.features.read_ahead import Piece, _Upload
from vmr.machine.memory import batch_that_fits
from vmr.machine.precision import choose_dtype, has_native_bfloat16

CUDA = torch.device("cuda")


@pytest.fixture
def on_card(fresh_i3d):
    """I3D with random weights on crops of some pixels, on the first card."""

    def build(crop=32, **changed):
        network = Network(fold_batch_norm(fresh_i3d), I3dClips(), 1024, None, None, crop, {})
        return extractor_of(network, **{"dtype": torch.bfloat16, "device": CUDA} | changed)

    return build


def encode(extractor, frames, upload):
    plan = extractor.plan(len(frames))
    encoder = extractor.encoder(plan)
    slabs = list(extractor.pieces([frames], plan))
    pieces = [Piece("v", None, plan, *upload(slab, last=slab is slabs[-1])) for slab in slabs]
    return torch.cat([encoder.push(piece.frames(), last=piece.last) for piece in pieces]).cpu()


@pytest.mark.parametrize(
    # A window counts 600 MiB in float32 and 300 in bfloat16, of six tenths of what is free.
    ("free_gib", "dtype", "windows"),
    [(80, torch.bfloat16, 64), (16, torch.float32, 16), (16, torch.bfloat16, 32), (0.2, torch.float32, 1)],
)
def test_as_many_windows_at_once_as_the_free_memory_holds(monkeypatch, free_gib, dtype, windows):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (int(free_gib * 2**30), 2**40))
    assert batch_that_fits(CUDA, dtype) == windows


@pytest.mark.gpu
def test_the_batch_really_fits(on_card):
    extractor = on_card(224)
    assert 1 <= extractor.batch_size <= 64
    clips = torch.randint(0, 256, (extractor.batch_size, 3, 64, 224, 224), dtype=torch.uint8, device=CUDA)
    assert extractor.run(clips).shape == (extractor.batch_size, 1024)


@pytest.mark.gpu
def test_frames_travel_as_bytes_while_the_card_computes():
    slab = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    upload = _Upload(CUDA)
    torch.cuda._sleep(2_000_000_000)  # cycles: about a second on the stream of the network
    computed = torch.cuda.Event()
    computed.record()
    tensor, last, copied = upload(slab, last=True)
    copied.synchronize()
    assert not computed.query(), "the copy waited for the computation"
    assert tensor.dtype == torch.uint8 and tensor.device.type == "cuda" and last
    piece = Piece("v", None, None, tensor, last, copied)
    assert torch.equal(piece.frames().cpu(), torch.from_numpy(slab))


@pytest.mark.gpu
def test_bytes_become_numbers_on_the_card(on_card):
    extractor = on_card()
    clips = torch.randint(0, 256, (1, 3, 8, 16, 16), dtype=torch.uint8)
    with extractor.inference():
        ready = extractor.normalised(clips.to(CUDA))
    assert ready.device.type == "cuda" and ready.dtype == torch.bfloat16
    torch.testing.assert_close(ready.float().cpu(), (clips.float() - 127.5) / 127.5, rtol=0, atol=2**-8)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["windows", "continuous"])
def test_a_card_in_bfloat16_is_faithful(on_card, mode):
    if not has_native_bfloat16(CUDA):
        pytest.skip("this card has no bfloat16")
    assert choose_dtype("auto", CUDA) == torch.bfloat16
    frames = np.random.default_rng(1).integers(0, 256, (60, 34, 40, 3), dtype=np.uint8)
    cpu = torch.device("cpu")
    # In this order, since an extractor converts its network in place.
    exact = encode(on_card(mode=mode, device=cpu, dtype=torch.float32), frames, _Upload(cpu))
    ours = encode(on_card(mode=mode), frames, _Upload(CUDA))
    assert torch.cosine_similarity(exact, ours).min() > 0.999
