"""A small dataset with planted moments, and the writer of it."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

_SPEC = importlib.util.spec_from_file_location("vmr_tests_synthetic", Path(__file__).parents[2] / "synthetic.py")


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module tests/synthetic.py."""
    module = importlib.util.module_from_spec(_SPEC)
    sys.modules["vmr_tests_synthetic"] = module
    _SPEC.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def data(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory):
    """A dataset of 8 training videos and 3 test videos."""
    return synthetic.write_synthetic(tmp_path_factory.mktemp("synthetic"), train_videos=8, test_videos=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are quicker on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
