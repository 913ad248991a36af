"""What the rules plan: the files that a job reads, and the options of its command, from the configuration.

Snakemake reads this at every start, and on a cluster in every job, so it is free of torch and pandas. Methods that take
`wildcards` are input and params functions of rules: Snakemake hands them the values of a job's wildcards.
"""

import itertools
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from vmr.assets.registry import OF_KINETICS_400, asset_or_path
from vmr.config.datasets import DatasetSettings
from vmr.config.feature_sections import ExtractorSettings, ImportSettings
from vmr.config.sections import Settings
from vmr.config.whole import Config
from vmr.features.foreign_names import joined_source
from vmr.methods.catalogue import method_settings
from vmr.pipeline.options import options, repeated
from vmr.pipeline.resources import column, gpus, length_of_features
from vmr.video.listing import changed_shards, folder_fingerprints

RUN = "work/{dataset}/runs/{extractor}/{method}/seed_{seed}"
DECODED = "work/{dataset}/frames/shard_{shard}.csv"
PROBED = "work/{dataset}/videos/shard_{shard}.csv"

Files = Callable[[Any], list[str]]


def expand(pattern: str, **values: Iterable[object]) -> list[str]:
    """A pattern with every combination of the values that it names.

    >>> expand("{kind}_{seed}", kind=["i3d"], seed=[0, 1], split=["a", "b"])
    ['i3d_0', 'i3d_1']
    """
    named = {name: list(own) for name, own in values.items() if f"{{{name}}}" in pattern}
    combinations = itertools.product(*named.values())
    return [pattern.format(**dict(zip(named, chosen, strict=True))) for chosen in combinations]


def listing_of(dataset: DatasetSettings) -> str:
    """The file that notes what a folder of videos held after the workflow made it."""
    folder = Path(str(dataset.videos))
    return str(folder.with_name("videos.sha256" if dataset.render else f"{folder.name}.listed"))


class Plan:
    """The jobs that a checked configuration asks for.

    Args:
        base: the checkout, with files that come with it.
        cores: gives those of this machine, for jobs that run here; None where a scheduler gives each job its own. It is
            asked when a job is planned, since Snakemake does not know before.
    """

    def __init__(self, config: Config, *, base: Path, cores: Callable[[], int | None] = lambda: None) -> None:
        self.base, self.cores = base, cores
        self.datasets = config.datasets
        self.settings = {name: config.for_dataset(name) for name in self.datasets}
        self.imports = {
            name: own.features.import_ for name, own in self.settings.items() if own.features.import_ is not None
        }
        self.kinds = {
            name: [self.imports[name].kind] if name in self.imports else list(dataset.extractors)
            for name, dataset in self.datasets.items()
        }
        self.rendered = {name: dataset for name, dataset in self.datasets.items() if dataset.render}
        self.simulated = {name: dataset for name, dataset in self.datasets.items() if dataset.simulate}
        # What a user put there is never an output: Snakemake would delete it before running the rule.
        self.fetched = {
            file: asset
            for dataset in self.datasets.values()
            for file, asset in dataset.fetch.items()
            if not Path(file).exists()
        }
        # A folder of videos that a user brought has no listing, and is left alone.
        self.fetched_videos = {
            name: dataset
            for name, dataset in self.datasets.items()
            if dataset.fetch_videos and (Path(listing_of(dataset)).exists() or not Path(str(dataset.videos)).exists())
        }
        self.video_fingerprints = cache(self._video_fingerprints)

    def dataset_of(self, wildcards: Any) -> DatasetSettings:
        """The section of the job's dataset."""
        return self.datasets[wildcards.dataset]

    def settings_of(self, wildcards: Any) -> Settings:
        """The settings that hold for the job's dataset, its overrides merged in."""
        return self.settings[wildcards.dataset]

    def extractor_of(self, wildcards: Any) -> ExtractorSettings:
        """The section of the job's extractor."""
        return self.settings_of(wildcards).features[wildcards.extractor]

    def imported(self, wildcards: Any) -> ImportSettings:
        """The section of the features that the job's dataset imports."""
        return self.imports[wildcards.dataset]

    def source(self, name: str) -> str:
        """The dataset that has the videos and features of a dataset: mostly itself."""
        return self.datasets[name].videos_of or name

    def each(self, pattern: str, name: str, **fewer: Iterable[object]) -> list[str]:
        """A pattern with each kind of features, method, seed, split and shard of a dataset, or fewer, that it names."""
        training, dataset = self.settings[name].training, self.datasets[name]
        values: dict[str, Iterable[object]] = {
            "dataset": [name],
            "extractor": self.kinds[name],
            "method": training.methods,
            "seed": training.seeds,
            "split": dataset.test_splits,
            "shard": range(dataset.shards),
        }
        return expand(pattern, **values | fewer)

    # Annotations and videos

    def annotation_options(self, wildcards: Any) -> str:
        """Files, durations and known counts of a dataset's annotations."""
        dataset = self.dataset_of(wildcards)
        files = [f"{split}={file}" for split, names in dataset.annotations.items() for file in names]
        counts = [
            f"{split}:{count}={number}"
            for split, expected in dataset.expected_counts.items()
            for count, number in expected.items()
        ]
        # Only a CSV is divided; another split to train on is no other table of moments.
        train_split = [dataset.train_split] if dataset.annotation_format in ("csv", "auto") else []
        return " ".join(
            [
                f"--annotation-format {dataset.annotation_format}",
                repeated("--annotations", files),
                repeated("--durations", dataset.durations),
                repeated("--expected", counts),
                repeated("--train-split", train_split),
                *accepting(dataset),
            ]
        )

    def video_listing(self, wildcards: Any) -> list[str]:
        """The listing of videos that the workflow makes: an input, since the folder is empty when jobs are planned."""
        made = wildcards.dataset in self.fetched_videos or wildcards.dataset in self.rendered
        return [listing_of(self.dataset_of(wildcards))] if made else []

    def _video_fingerprints(self, name: str) -> list[str]:
        """Digests of the video files of a dataset's shards, looked at when the first probing is planned.

        A cluster's jobs read the rules anew, each on its node: most of them must not list a million files for it.
        """
        dataset = self.datasets[name]
        folder = str(dataset.videos)
        if name in self.fetched_videos:
            return changed_shards(folder, listing_of(dataset), shards=dataset.shards)
        return folder_fingerprints(folder, shards=dataset.shards)

    def shard_fingerprint(self, wildcards: Any) -> str:
        """Digest of the shard's video files; a rendered dataset has its listing as an input instead."""
        if wildcards.dataset in self.rendered:
            return "rendered"
        return self.video_fingerprints(wildcards.dataset)[int(wildcards.shard)]

    def shard_files(self, name: str, pattern: str) -> list[str]:
        """The files of `pattern` for every shard of a dataset."""
        return expand(pattern, dataset=[self.source(name)], shard=range(self.datasets[name].shards))

    def manifest_files(self, name: str, pattern: str) -> list[str]:
        """The manifests of a dataset's videos.

        Imported features are made without the videos: these are asked only for durations that nothing else tells.
        """
        if name not in self.imports:
            return self.shard_files(name, pattern)
        dataset = self.datasets[name]
        return [] if dataset.has_durations or dataset.videos is None else self.shard_files(name, PROBED)

    def shards(self, extension: str) -> Files:
        """Input function: the files that the extraction of each shard of the job's dataset writes."""

        def files(wildcards: Any) -> list[str]:
            folder = f"work/{{dataset}}/features/{wildcards.extractor}"
            return self.shard_files(wildcards.dataset, f"{folder}/shard_{{shard}}.{extension}")

        return files

    def manifests(self, pattern: str) -> Files:
        """Input function: the manifests of the job's dataset."""
        return lambda wildcards: self.manifest_files(wildcards.dataset, pattern)

    def shard_threads(self, at_most: int, *, wildcards: Any) -> int:
        """Threads of a shard's job: all that it can use where a scheduler gives it cores of its own.

        On one machine shards run side by side, since their threads then do not wait for each other; four at a time, as
        each holds a network and frames in memory.
        """
        if (cores := self.cores()) is None:
            return at_most
        return min(at_most, -(-cores // min(self.dataset_of(wildcards).shards, 4)))

    # Features

    def simulate_options(self, name: str) -> str:
        """Files to write and the recipe of a simulated dataset; steps are as long as the import takes them for."""
        dataset, held = self.datasets[name], self.imports[name]
        recipe = dataset.simulate
        assert recipe is not None and held.stride is not None  # the configuration was checked
        return " ".join(
            [
                repeated("--annotations", (f"{split}={files[0]}" for split, files in dataset.annotations.items())),
                repeated("--videos", (f"{split}={number}" for split, number in recipe.videos.items())),
                repeated("--noise", recipe.noise),
                options(recipe, "source", "videos", "noise"),
                f"--fps {held.fps} --stride {int(held.stride)}",
            ]
        )

    def import_fingerprint(self, wildcards: Any) -> str:
        """Digest of what folders of features hold: their own time does not change with their files."""
        settings = self.imported(wildcards)
        head = (settings.pattern or "{id}").partition("{id}")[0]
        folders = [Path(settings.source, head.rpartition("/")[0]), *map(Path, self.joined_sources(wildcards))]
        return " ".join(
            folder_fingerprints(folder, shards=1, extensions=("",))[0] if folder.is_dir() else "file"
            for folder in folders
        )

    def joined_sources(self, wildcards: Any) -> list[str]:
        """Files and folders whose features are joined to those of the source."""
        return [str(joined_source(entry)[0]) for entry in self.imported(wildcards).join]

    def weights(self, wildcards: Any) -> str:
        """The file of weights of the job's extractor."""
        return asset_or_path(self.extractor_of(wildcards).weights)

    def vectors(self, wildcards: Any) -> str:
        """The file of word vectors of the job's dataset."""
        return asset_or_path(self.settings_of(wildcards).queries.vectors)

    def knows_actions(self, name: str, kind: str) -> bool:
        """Whether a dataset's features of a kind are those that the classifier of Kinetics-400 reads."""
        if kind != "i3d" or self.source(name) in self.imports or name in self.imports:
            return False
        section = self.settings[self.source(name)].features["i3d"]
        return section.weights in OF_KINETICS_400 and not section.pca_components and not section.pca

    def extract_options(self, wildcards: Any) -> str:
        """Settings of the job's extractor that extraction reads."""
        return options(self.extractor_of(wildcards), "weights", "pca_components", "pca")

    def extract_gpus(self, wildcards: Any) -> int:
        """Cards that an extraction asks for."""
        return gpus(self.extractor_of(wildcards).device)

    def extract_threads(self, wildcards: Any) -> int:
        """A network on the CPU wants all cores; a card, those that read and decode for it."""
        return 8 if self.extract_gpus(wildcards) else self.shard_threads(16, wildcards=wildcards)

    def merge_options(self, wildcards: Any) -> str:
        """How a dataset's features are merged and reduced."""
        section = self.extractor_of(wildcards)
        reduction = {"--pca-components": section.pca_components, "--pca": section.pca}
        chosen = {"--train-split": self.dataset_of(wildcards).train_split} | {
            option: value for option, value in reduction.items() if value
        }
        if len(chosen) > 1:  # a merge that only links needs no card
            chosen["--device"] = section.device
        return " ".join(repeated(option, [value]) for option, value in chosen.items())

    def features(self, wildcards: Any) -> str:
        """The features of the job's kind, of the dataset that has the videos."""
        return f"work/{self.source(wildcards.dataset)}/features/{wildcards.extractor}.h5"

    def features_mb(self, wildcards: Any, inputs: Any) -> float:
        """Memory of the features of all videos of a job, as training holds them."""
        videos = len(set(column(inputs.moments, "video_id")))
        return 4 * length_of_features(inputs.features) * self.settings_of(wildcards).model.max_steps * videos / 2**20

    # Training and evaluation

    def train_options(self, wildcards: Any) -> str:
        """Sizes of the network and settings of its training; of methods' own settings those of the job's method."""
        settings, dataset = self.settings_of(wildcards), self.dataset_of(wildcards)
        own = method_settings(wildcards.method, settings.methods)
        rate = own.learning_rate or settings.training.learning_rate
        values = own.model_dump(exclude={"learning_rate"})
        return " ".join(
            [
                options(settings.model),
                options(settings.training, "methods", "seeds", "threads", "learning_rate"),
                f"--learning-rate {rate}",
                repeated("--set", (f"{name}={json.dumps(value)}" for name, value in values.items())),
                repeated("--train-split", [dataset.train_split]),
                repeated("--test-splits", dataset.tested if settings.training.selection == "test" else ()),
                *accepting(dataset),
            ]
        )

    def accept_option(self, wildcards: Any) -> str:
        """Whether the job goes on where something is wrong with its dataset."""
        return " ".join(accepting(self.dataset_of(wildcards)))

    def check_options(self, wildcards: Any) -> str:
        """What the checks of the job's dataset must know of it."""
        dataset = self.dataset_of(wildcards)
        splits = [repeated("--train-split", [dataset.train_split]), repeated("--test-splits", dataset.tested)]
        return " ".join([*splits, *accepting(dataset)])

    def splits_option(self, wildcards: Any) -> str:
        """The annotation splits that a split of the table unites."""
        return repeated("--splits", self.dataset_of(wildcards).test_splits[wildcards.split])


def accepting(dataset: DatasetSettings) -> list[str]:
    """The option that goes on where something is wrong, of a dataset that says so."""
    return ["--accept-wrong"] if dataset.accept_wrong else []
