"""A small dataset with planted moments."""

from collections.abc import Iterator

import pytest
import torch
from synthetic import SyntheticData, write_synthetic


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> SyntheticData:
    """A dataset of 8 training videos and 3 test videos."""
    return write_synthetic(tmp_path_factory.mktemp("synthetic"), train_videos=8, test_videos=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are quicker on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
