import json

import h5py
import numpy as np
import pandas as pd
import pytest

from vmr.errors import FeatureError
from vmr.features.inspect import features_diff, features_info


def write(path, videos):
    with h5py.File(path, "w") as file:
        file.attrs["provenance"] = json.dumps({"dim": 2, "extractor": "i3d", "frames": {"fps": 24.0}})
        for video_id, features in videos.items():
            steps = len(features)
            file[f"features/{video_id}"] = np.array(features, np.float32)
            file[f"start_sec/{video_id}"] = np.arange(steps) / 2
            file[f"end_sec/{video_id}"] = np.arange(1, steps + 1) / 2


def test_info_says_what_is_there_and_what_made_it(tmp_path):
    write(tmp_path / "a.h5", {name: [[1, 0]] * 4 for name in "abcd"})
    text = features_info(tmp_path / "a.h5")
    assert "4 videos, 16 steps of 2 numbers" in text
    assert "a: 4 steps, 0 to 2.00 s" in text and "and 1 more" in text
    assert "extractor: i3d" in text and '"fps": 24.0' in text
    with pytest.raises(FeatureError, match="no such feature file"):
        features_info(tmp_path / "b.h5")


def test_diff_shows_where_two_files_part(tmp_path):
    write(
        tmp_path / "a.h5",
        {"same": [[1, 2], [3, 4]], "turned": [[1, 0], [1, 0]], "longer": [[0, 1]] * 3, "left": [[1, 1]]},
    )
    write(
        tmp_path / "b.h5",
        {"same": [[2, 4], [3, 4]], "turned": [[1, 0], [0, 1]], "longer": [[0, 1]] * 2, "zero": [[0, 0]]},
    )
    table = features_diff(tmp_path / "a.h5", tmp_path / "b.h5").set_index("video_id")
    assert table.loc["same", ["cosine_mean", "cosine_min"]].tolist() == pytest.approx([1.0, 1.0])
    # Second step at a right angle: mean (1 + 0) / 2.
    assert table.loc["turned", ["cosine_mean", "cosine_min"]].tolist() == [0.5, 0.0]
    assert table.loc["longer", ["steps_a", "steps_b", "seconds_a", "seconds_b"]].tolist() == [3, 2, 1.5, 1.0]
    assert pd.isna(table.loc["left", "steps_b"]) and pd.isna(table.loc["zero", "cosine_mean"])
