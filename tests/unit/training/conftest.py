"""A small dataset with planted moments."""

import pytest
from synthetic import SyntheticData, write_synthetic


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> SyntheticData:
    """A dataset of 8 training videos and 3 test videos."""
    return write_synthetic(tmp_path_factory.mktemp("synthetic"), train_videos=8, test_videos=3)
