"""Fixtures of the tests of features."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from vmr.features.i3d import InceptionI3d

REFERENCE = Path(__file__).parents[2] / "reference"


def load_reference(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REFERENCE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def i3d_reference() -> ModuleType:
    return load_reference("i3d_reference")


@pytest.fixture(scope="session")
def c3d_reference() -> ModuleType:
    return load_reference("c3d_reference")


@pytest.fixture(scope="session")
def random_i3d() -> InceptionI3d:
    """I3D with random weights and batch-norm statistics, float64, evaluation mode. Do not change it."""
    torch.manual_seed(7)
    model = InceptionI3d(num_classes=5)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var") or name.endswith("bn.weight"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("running_mean") or name.endswith("bn.bias"):
            tensor.normal_(0.0, 0.2)
    return model.double().eval()


@pytest.fixture
def video_frames() -> np.ndarray:
    """Random RGB frames, (40, 48, 64, 3)."""
    return np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
