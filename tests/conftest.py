"""Fixtures shared by all tests."""

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)  # small tensors are quicker on one thread
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads of each for all of them get in each other's way many times over.
    os.environ["OMP_NUM_THREADS"] = "1"

# Shapes and types in annotations are checked at run time; here, since what is imported before the hook is not checked.
hook = install_import_hook(["vmr.model", "vmr.methods"], "beartype.beartype")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real annotations, videos and vectors; a checkout without it skips the tests that read it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data with real annotations and videos is not beside this checkout")
    return SHARED_DATA


@pytest.fixture
def full_disk():
    """A context in which no file can grow beyond 1 kB."""

    @contextmanager
    def limited():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
