import csv
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]


def locked(name):
    return re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "envs" / name).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_locked_package_has_a_hash_and_no_address():
    for name in ("requirements.txt", "assets.txt", "build.txt", "uv.txt"):
        text = (ROOT / "envs" / name).read_text(encoding="utf-8")
        assert "://" not in text
        blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
        assert blocks
        assert all("--hash=sha256:" in block for block in blocks)


def test_the_conda_environment_has_the_locked_versions():
    pins = yaml.safe_load((ROOT / "envs" / "vmr.yaml").read_text(encoding="utf-8"))["dependencies"][-1]["pip"]
    assert not [pin for pin in pins if tuple(pin.split("==")) not in locked("requirements.txt")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    wanted = {re.match(r"[a-z0-9-]+", entry)[0] for entry in project} - {"snakemake"}
    assert {pin.split("==")[0] for pin in pins} == wanted


def test_the_conda_environment_installs_the_locked_assets():
    script = (ROOT / "envs" / "vmr.post-deploy.sh").read_text(encoding="utf-8")
    lines = [
        line for line in (ROOT / "envs" / "assets.txt").read_text(encoding="utf-8").splitlines() if "#" not in line
    ]
    assert lines
    assert all(line in script for line in lines)


def test_the_licence_of_every_locked_package_is_listed():
    with (ROOT / "envs" / "licences.csv").open(newline="") as file:
        listed = {(row["name"], row["version"]) for row in csv.DictReader(file) if row["licence"]}
    pinned = {pin for name in ("requirements.txt", "assets.txt", "uv.txt") for pin in locked(name)}
    assert listed == pinned, "stale: python envs/licences.py"
