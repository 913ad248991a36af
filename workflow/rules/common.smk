"""What all rules share: the checked configuration, digests of code, and options of the command line."""

import csv
import re
import shlex
import shutil
import sys
from functools import cache, lru_cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Jobs run `python -m vmr` of this checkout with the Python that runs Snakemake, whether or not its environment is
# activated; with --sdm conda the environment's Python comes before it, and the checkout is on its path.
BASE = Path(str(workflow.basedir))
sys.path.insert(0, str(BASE))
shell.prefix(
    f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    f" PYTHONPATH={shlex.quote(str(BASE))}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; "
)

from vmr.assets.registry import is_path
from vmr.config import load_config, read_mapping
from vmr.errors import ConfigError, VmrError
from vmr.methods.catalogue import METHODS, method_digest, method_settings
from vmr.pipeline.failures import options_of, summary
from vmr.pipeline.stages import STAGES, extract_stage
from vmr.features.foreign_names import joined_source
from vmr.video.listing import changed_shards, folder_fingerprints

try:
    # Snakemake lets keys stand twice; the processes of its jobs need not look again.
    for file in workflow.configfiles if workflow.is_main_process else ():
        read_mapping(Path(file))
    CONFIG = load_config(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

DATASETS = CONFIG.datasets
SETTINGS = {name: CONFIG.for_dataset(name) for name in DATASETS}
KINDS = {name: CONFIG.feature_kinds(name) for name in DATASETS}
IMPORTS = {
    name: settings.features.import_
    for name, settings in SETTINGS.items()
    if settings.features.import_
}
CONDA = "../../envs/vmr.yaml"
ASSETS = "data/assets"


def one_of(names):
    """Pattern of a wildcard that is one of these names, and of nothing when there is none."""
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return "|".join(map(re.escape, longest_first)) or "(?!)"


wildcard_constraints:
    dataset=one_of(DATASETS),
    extractor=one_of({kind for kinds in KINDS.values() for kind in kinds}),
    method=one_of(METHODS),
    shard=r"\d+",
    seed=r"\d+",
    split=one_of(
        {name for dataset in DATASETS.values() for name in dataset.test_splits}
    ),


def dataset_of(wildcards):
    """The section of `config.yaml` of the job's dataset."""
    return DATASETS[wildcards.dataset]


def source_of(wildcards):
    """Name of the dataset that has the videos and features of the job's dataset: mostly itself."""
    return dataset_of(wildcards).videos_of or wildcards.dataset


def settings_of(wildcards):
    """The settings that hold for the job's dataset, its overrides merged in."""
    return SETTINGS[wildcards.dataset]


def options(section, *leave_out):
    """Command line options from a section: its unset entries and those of `leave_out` are not passed."""
    chosen = {
        name: value
        for name, value in section.model_dump().items()
        if name not in leave_out
    }
    return " ".join(
        option(f"--{name.replace('_', '-')}", value)
        for name, value in chosen.items()
        if value not in (None, False, [])
    )


def option(name, value):
    """An option with its value; a flag has none, and a list gives the option once for each value."""
    if value is True:
        return name
    return repeated(name, value if isinstance(value, list) else [value])


def repeated(option, values):
    """The same option once for each value."""
    return " ".join(f"{option} {shlex.quote(str(value))}" for value in values)


def shard_files(name, pattern):
    """The files of `pattern` for every shard of a dataset."""
    return expand(
        pattern,
        dataset=DATASETS[name].videos_of or name,
        shard=range(DATASETS[name].shards),
        allow_missing=True,
    )


def of_all_shards(option, files):
    """An option for the files of shards of datasets, short however many they are (`vmr.storage.files.numbered_files`)."""
    numbers = {}
    for file in files:
        before, number, after = re.fullmatch(r"(.*shard_)(\d+)(\.\w+)", file).groups()
        numbers.setdefault((before, after), set()).add(int(number))
    values = []
    for (before, after), found in numbers.items():
        # A run begins after each number that is missing, and ends before the next.
        firsts = sorted(found - {number + 1 for number in found})
        lasts = sorted(found - {number - 1 for number in found})
        values += [
            f"{before}{first if first == last else f'{{{first}..{last}}}'}{after}"
            for first, last in zip(firsts, lasts)
        ]
    return repeated(option, values)


def per_shard(pattern):
    """Input function: the files of `pattern` for every shard of the job's dataset."""
    return lambda wildcards: shard_files(wildcards.dataset, pattern)


def manifest_files(name, pattern):
    """The manifests of a dataset's videos, as `pattern` names those of decoded ones.

    Imported features are made without the videos: these are asked only for durations that nothing else tells.
    """
    if name not in IMPORTS:
        return shard_files(name, pattern)
    if DATASETS[name].has_durations or DATASETS[name].videos is None:
        return []
    return shard_files(name, "work/{dataset}/videos/shard_{shard}.csv")


def manifests(pattern):
    """Input function: the manifests of the job's dataset, see `manifest_files`."""
    return lambda wildcards: manifest_files(wildcards.dataset, pattern)


def asset_or_path(value, suffix):
    """Where the weights or vectors that the configuration names lie: a path is taken as it is."""
    return value if is_path(value) else f"{ASSETS}/{value}{suffix}"


def shipped(path):
    """A file that comes with the workflow, when the working directory has none of that name."""
    return (
        path if Path(path).exists() or not (BASE / path).exists() else str(BASE / path)
    )


def gpus(device):
    """Cards that a job of this device asks for; a cluster's head node sees none, so its profile sets them."""
    return int(
        device == "cuda"
        or (device == "auto" and shutil.which("nvidia-smi") is not None)
    )


def from_table(count):
    """A number from a column of a table that an earlier job writes, read once for each state of the file.

    While the file is not there, Snakemake plans with `<TBD>`.
    """

    @lru_cache(maxsize=None)
    def of_state(path, column, changed):
        with open(path, newline="", encoding="utf-8") as file:
            return count(row[column] for row in csv.DictReader(file))

    return lambda path, column: of_state(path, column, Path(path).stat().st_mtime_ns)


number_of_different = from_table(lambda values: len(set(values)))
total = from_table(lambda values: sum(float(value or 0) for value in values))


@lru_cache(maxsize=None)
def length_of_features(path, changed):
    """How many numbers a feature has, as its file tells."""
    from vmr.features.store import FeatureStore

    try:
        with FeatureStore(path) as store:
            return store.dim
    except VmrError:
        return 1024  # the job itself says what is wrong with the file


def growing(megabytes, *, holds_features=False):
    """Memory that grows with each attempt, and with the features where a stage holds those of all videos.

    Decoding and extraction hold pieces of one video, so that neither its length nor the shard's size matters.
    """

    def features_mb(wildcards, input):
        path = Path(input.features)
        numbers = length_of_features(str(path), path.stat().st_mtime_ns)
        steps = settings_of(wildcards).model.max_steps
        videos = number_of_different(input.moments, "video_id")
        return 4 * numbers * steps * videos / 2**20

    def memory(wildcards, input, attempt):
        held = features_mb(wildcards, input) if holds_features else 0
        return int(megabytes + held) * attempt

    return memory


def lasting(minutes, *, per_video_hour=0):
    """Run time that grows with each attempt, and with the hours of video in a shard's manifest."""

    def runtime(wildcards, input, attempt):
        seconds = total(input.manifest, "duration_sec") if per_video_hour else 0
        return int(minutes + per_video_hour * seconds / 3600) * attempt

    return runtime


onerror:
    # Snakemake removes what a failed job had written, and makes a file that is missing only for one that is missing, too:
    # older results after it would count as right, and the same command do nothing.
    for job in workflow.dag.needrun_jobs() if workflow.dag else ():
        workflow.persistence.started(job)
    # Empty for errors before the first job, which Snakemake has printed.
    if failed := summary(
        "".join(Path(file).read_text() for file in log),
        folder=Path.cwd(),
        options=options_of(sys.argv[1:], workflow.dag_settings.targets),
    ):
        print(f"\n{failed}", file=sys.stderr)
