"""What leaves the checkout: the wheel, and the image of the Dockerfile."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import yaml
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[3]


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else():
    held = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    tracked = subprocess.run(["git", "ls-files", "vmr"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if tracked:
        assert set(tracked.split()) - held == set()
    assert {path.partition("/")[0] for path in held} == {"vmr"}
    for folder in ("vmr/serve/static", "vmr/report/templates", "vmr/zero_shot/classes"):
        needed = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).iterdir() if path.is_file()}
        assert needed and needed <= held


def dockerfile():
    """Instructions and their arguments, lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return [line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_is_made_as_make_setup_makes_the_environment():
    steps = dockerfile()
    (image,) = [value for name, value in steps if name == "FROM"]
    minor = re.match(r"python:(3\.\d+)-slim", image)[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert project["requires-python"] == f">={minor}"
    assert set(re.findall(r"--python-version (\S+)", makefile)) == {minor}
    assert f"python={minor}" in yaml.safe_load((ROOT / "envs/vmr.yaml").read_text(encoding="utf-8"))["dependencies"]
    needed, recipe = re.search(r"^\.venv/ready: (.*)\n((?:\t.*\n)+)", makefile, re.MULTILINE).groups()
    (run,) = [value for name, value in steps if name == "RUN"]
    assert shlex.split(run)[: shlex.split(run).index("&&")] == [line.strip("@\t ") for line in recipe.splitlines()]
    copied = [shlex.split(value)[:-1] for name, value in steps if name == "COPY"]
    assert all((ROOT / path).exists() for paths in copied for path in paths)
    tops = {path for paths in copied for path in paths}
    assert {path.partition("/")[0] for path in needed.split()} <= tops
    # What the workflow is made of, and what the wheel's build reads.
    assert {"vmr", "workflow", "profiles", "Snakefile", "config.yaml", project["readme"], "LICENSE"} <= tops
    names = [name for name, _ in steps]
    assert names.index("RUN") > max(at for at, name in enumerate(names) if name == "COPY")
    (folder,) = [value for name, value in steps if name == "WORKDIR"]
    # A user without a name or a folder there: Snakemake asks for the one, caches for the other.
    assert ["ENV", f"PATH={folder}/.venv/bin:$PATH HOME=/tmp USER=vmr"] in steps
    (command,) = [value for name, value in steps if name == "CMD"]
    demo = re.search(r"^demo: .*\n\t@\$\(SNAKEMAKE\) (.*)$", makefile, re.MULTILINE)[1]
    assert command == str(["snakemake", *demo.split()]).replace("'", '"')
