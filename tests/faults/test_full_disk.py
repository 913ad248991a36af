"""A disk that gets full: one clear error, no half file, and success with more space, without doing videos again."""

import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from faults import test_kills as kills
from typer.testing import CliRunner
from written import write_features, write_first_seconds

from vmr.cli import app
from vmr.video.processes import child_environment


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of a given size in memory; the mount can be resized."""
    folder = tmp_path / "small"
    folder.mkdir()

    def size(kilobytes):
        mounted = folder.is_mount()
        options = f"{'remount,' if mounted else ''}size={kilobytes}k"
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"a file system cannot be mounted here: {made.stderr.strip()}")
        return folder

    yield size
    subprocess.run(["umount", "-l", folder], capture_output=True)


def check_failed(folder, stage, code):
    output, table = (folder / name for name in kills.FILES[stage])
    said = kills.said(folder, stage)
    assert code == 1, said
    assert said.count("error: ") == 1 and f"{folder}/" in said and "Free some space" in said
    assert "Traceback" not in said
    assert not output.exists()
    # What is left is complete: parts that can be read, and nothing beside them that looks like a result.
    kept = kills.kept_videos(output)
    assert len(kept) == len(list(output.with_name(f"{output.name}.parts").glob("[!.]*.h5")))
    assert not list(output.with_name(f"{output.name}.parts").glob(".*"))
    assert {path.name for path in folder.iterdir()} <= {
        f"{output.name}.parts", table.name, *kills.FILES["decode"],
    }  # fmt: skip
    return kept


def check_succeeds(folder, stage, stages, clip_manifest, undisturbed, *, kept):
    before = kills.begun(folder, stage)
    output, table = (folder / name for name in kills.FILES[stage])
    assert stages.run(stage, folder, manifest=clip_manifest) == 0, kills.said(folder, stage)
    assert not kept & set(kills.begun(folder, stage)[len(before) :])
    assert kills.content(output) == kills.content(undisturbed / output.name)
    assert table.read_bytes() == (undisturbed / table.name).read_bytes()


# Sizes beside the inputs: too small for the parts; enough for the parts, too small for the gathered file.
@pytest.mark.parametrize("share", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("stage", ["decode", "extract"])
def test_a_full_disk(small_disk, stages, clip_manifest, undisturbed, stage, share):
    folder = small_disk(100_000)
    if stage == "extract":
        kills.prepare(folder / "inputs", stage, undisturbed)
        for path in (folder / "inputs").iterdir():
            path.rename(folder / path.name)
        (folder / "inputs").rmdir()
    size = (undisturbed / kills.FILES[stage][0]).stat().st_size
    used = subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True).stdout.split()[0]
    small_disk(int(used) + 16 + round(share * size / 1024))
    kept = check_failed(folder, stage, stages.run(stage, folder, manifest=clip_manifest))
    assert len(kept) < 6 or share
    small_disk(100_000)
    check_succeeds(folder, stage, stages, clip_manifest, undisturbed, kept=kept)


# The largest file that may be written: less than a part; then more than a part and less than the gathered file.
@pytest.mark.parametrize(("limit", "parts"), [("part", 0), ("gathered", 6)])
@pytest.mark.parametrize("stage", ["decode", "extract"])
def test_a_limit_of_file_sizes(tmp_path, stages, clip_manifest, undisturbed, stage, limit, parts):
    whole = (undisturbed / kills.FILES[stage][0]).stat().st_size
    limit_bytes = 2_000 if limit == "part" else whole - 1_000
    folder = kills.prepare(tmp_path / "limited", stage, undisturbed)
    code = stages.run(stage, folder, manifest=clip_manifest, limit_bytes=limit_bytes)
    kept = check_failed(folder, stage, code)
    assert len(kept) == parts
    check_succeeds(folder, stage, stages, clip_manifest, undisturbed, kept=kept)


VIDEOS = [f"v{number:02}" for number in range(40)]


@pytest.fixture
def inputs(tmp_path):
    """What the stages of whole datasets read: moments, a shard, arrays and word vectors."""
    folder = tmp_path / "inputs"
    (folder / "npy").mkdir(parents=True)
    write_first_seconds(folder / "moments.csv", train=dict.fromkeys(VIDEOS, 10.0))
    random = np.random.default_rng(0)
    features = {video_id: random.normal(size=(30, 16)).astype(np.float32) for video_id in VIDEOS}
    write_features(folder / "shard.h5", features)
    for video_id, array in features.items():
        np.save(folder / "npy" / f"{video_id}.npy", array)
    statuses = [(video_id, "ok", "") for video_id in VIDEOS]
    pd.DataFrame(statuses, columns=["video_id", "status", "reason"]).to_csv(folder / "status.csv", index=False)
    (folder / "glove.txt").write_text("".join(f"{word} {'0.5 ' * 1000}\n" for word in ("a", "person", "walks")))
    return folder


MERGE = "merge-features --shards IN/shard.h5 --statuses IN/status.csv --output OUT/features.h5 --coverage OUT/c.csv"


@pytest.mark.parametrize(
    "command",
    [
        MERGE,
        f"{MERGE} --pca-components 12 --device cpu",
        "features import IN/npy --layout npy_folder --fps 24 --stride 8 --output OUT/features.h5 --coverage OUT/c.csv",
        "embed-queries --vectors IN/glove.txt --output OUT/queries.h5 --report OUT/report.json",
        "simulate --annotations train=OUT/train.txt --durations OUT/d.csv --features OUT/features.h5",
    ],
    ids=["links", "pca", "import", "queries", "simulate"],
)
def test_files_of_whole_datasets(tmp_path, inputs, command):
    # In a process of its own: HDF5 that cannot write may end in a segmentation fault.
    output = tmp_path / "output"
    output.mkdir()
    arguments = f"{command} --moments IN/moments.csv".replace("IN/", f"{inputs}/").replace("OUT/", f"{output}/").split()
    limit = 4_000  # bytes of a file: enough for the tables
    result = subprocess.run(
        [sys.executable, "-m", "vmr", *arguments],
        env=child_environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    said = result.stderr + result.stdout
    assert result.returncode == 1, said
    assert said.count("error: ") == 1 and f"{output}/" in said and "Free some space" in said
    assert "Traceback" not in said
    assert {path.name for path in output.iterdir()} <= {"c.csv"}
    # With more space it succeeds.
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert max(path.stat().st_size for path in output.iterdir()) > limit
