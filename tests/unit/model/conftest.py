"""Run-time checks of the shapes and types in the annotations of the modules under test."""

from collections.abc import Iterator

import pytest
import torch
from jaxtyping import install_import_hook

hook = install_import_hook(
    ["vmr.model.attention", "vmr.model.encoders", "vmr.model.fusion", "vmr.model.heads", "vmr.model.ci_mha",
     "vmr.model.losses", "vmr.model.decode", "vmr.model.masks", "vmr.model.prediction", "vmr.model.network",
     "vmr.model.excl", "vmr.model.vslnet", "vmr.model.vslnet_layers", "vmr.model.lgi", "vmr.model.lgi_layers"],
    "beartype.beartype",
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are quicker on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
