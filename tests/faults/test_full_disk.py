"""A disk that gets full: one clear error, no half file, and success with more space, without doing videos again."""

import subprocess

import pytest
from faults import test_kills as kills


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
