"""Files and folders without permission; root, whom nothing forbids anything, gives that privilege up for it."""

import os
import sys
from pathlib import Path

import pytest
from faults import corpus

from vmr.video.manifest import read_manifest

pytestmark = pytest.mark.skipif(
    os.geteuid() == 0 and sys.platform != "linux", reason="root ignores permissions, and can give that up on Linux only"
)


def test_a_file_without_permission_is_a_row_with_a_reason(tmp_path, annotate, stages):
    folder, result = tmp_path / "videos", tmp_path / "result"
    folder.mkdir()
    result.mkdir()
    for name in ("forbidden before", "forbidden after", "good"):
        corpus.clips.render(folder / f"{name}.mp4", *corpus.FAST, frames=3)
    (folder / "forbidden before.mp4").chmod(0)
    assert stages.run("probe", result, moments=annotate(folder), videos=folder, obey=True) == 0
    probed = read_manifest([result / "videos.csv"]).set_index("video_id")
    assert probed["status"].to_dict() == {"forbidden before": "bad", "forbidden after": "ok", "good": "ok"}
    assert "Permission denied" in probed["reason"]["forbidden before"]
    (folder / "forbidden after.mp4").chmod(0)
    code = stages.run("decode", result, manifest=result / "videos.csv", max_failed_share=0.7, obey=True)
    assert code == 0, Path(f"{result}.decode.err").read_text()
    decoded = read_manifest([result / "frames.csv"]).set_index("video_id")
    assert decoded["status"].to_dict() == {"forbidden before": "bad", "forbidden after": "bad", "good": "ok"}
    assert "Permission denied" in decoded["reason"]["forbidden after"]


def test_a_folder_that_may_not_be_written_is_one_clear_error(tmp_path, clip_manifest, stages):
    (tmp_path / "result").mkdir(mode=0o555)
    assert stages.run("decode", tmp_path / "result", manifest=clip_manifest, obey=True) == 1
    said = (tmp_path / "result.decode.err").read_text()
    assert said.count("error: ") == 1 and "Permission denied" in said and "Traceback" not in said
