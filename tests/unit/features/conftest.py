"""Fixtures of the tests of features."""

import numpy as np
import pytest
import torch

from vmr.features.i3d import InceptionI3d


def lively_i3d(*, seed: int) -> InceptionI3d:
    """I3D with random weights under which signals neither fade nor explode, so that features depend on all frames."""
    random = torch.Generator().manual_seed(seed)
    model = InceptionI3d(num_classes=5)
    for name, tensor in model.state_dict().items():
        if name.endswith("conv3d.weight"):
            tensor.normal_(0.0, (2 / tensor[0].numel()) ** 0.5, generator=random)
        elif name.endswith("running_var") or name.endswith("bn.weight"):
            tensor.uniform_(0.8, 1.25, generator=random)
        elif name.endswith("running_mean") or name.endswith("bias"):
            tensor.normal_(0.0, 0.1, generator=random)
    return model.eval()


@pytest.fixture(scope="session")
def random_i3d() -> InceptionI3d:
    """I3D with random weights and batch-norm statistics, float64. Do not change it."""
    return lively_i3d(seed=7).double()


@pytest.fixture
def fresh_i3d() -> InceptionI3d:
    """The same network in float32, for tests that change it."""
    return lively_i3d(seed=7)


@pytest.fixture
def video_frames() -> np.ndarray:
    """Random RGB frames, (40, 48, 64, 3)."""
    return np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
