"""What a table, a report and their costs are made from: files of all runs of the datasets that stand in it."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vmr.assets.registry import asset_or_path, is_path
from vmr.errors import ConfigError
from vmr.methods.catalogue import ZERO_SHOT
from vmr.pipeline.options import of_all_shards
from vmr.pipeline.plan import DECODED, RUN, Files, Plan


class TablePlan:
    """The files that tables and reports read."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def datasets(self, wildcards: Any) -> list[str]:
        """The datasets of a table: its own, and further ones whose annotation files are all there."""
        sections = self.plan.datasets
        further = sections[wildcards.dataset].further
        there = (name for name in further if all(Path(file).exists() for file in sections[name].annotation_files))
        return [wildcards.dataset, *there]

    def sources(self, wildcards: Any) -> list[str]:
        """The datasets that have the videos of a table's datasets."""
        return list(dict.fromkeys(map(self.plan.source, self.datasets(wildcards))))

    def refuse_absent(self, targets: Iterable[str]) -> None:
        """Refuse results that are there though a file that they were made from is not.

        Snakemake takes a result as given whose inputs cannot be made: a wrong name in the configuration would go
        unnoticed.

        Raises:
            ConfigError: names each setting and file.
        """
        absent: dict[str, None] = {}
        for target in filter(os.path.exists, targets):
            result = re.fullmatch(r"results/(.+)_(?:table|report|costs)\.\w+", os.path.normpath(target))
            if result and result[1] in self.plan.datasets:
                for name in self.measured(SimpleNamespace(dataset=result[1])):
                    absent |= dict.fromkeys(self._absent_of(name))
        if absent:
            raise ConfigError(
                f"files that results were made from are not there: {'; '.join(absent)}. Put them back, or name others."
            )

    def _absent_of(self, name: str) -> Iterator[str]:
        plan, dataset, settings = self.plan, self.plan.datasets[name], self.plan.settings[name]
        named = {f"datasets.{name}.published": self.published(SimpleNamespace(dataset=name))}
        if not (dataset.render or dataset.simulate):
            named[f"datasets.{name}.annotations"] = plan.datasets[name].annotation_files
            named[f"datasets.{name}.durations"] = dataset.durations
        if name in plan.imports and not dataset.simulate:
            named["features.import.source"] = [plan.imports[name].source]
        for kind in dataset.extractors if name == plan.source(name) and name not in plan.imports else ():
            section = settings.features[kind]
            for setting in ("weights", "mean", "pca"):
                named[f"features.{kind}.{setting}"] = [getattr(section, setting)]
        named["queries.vectors"] = [settings.queries.vectors]
        for setting, files in named.items():
            for file in files:
                # Assets are names, and what is fetched comes by itself.
                if file and is_path(file) and file not in plan.fetched and not Path(file).exists():
                    yield f"{setting}: {file}"

    def of_datasets(self, pattern: str) -> Files:
        """Input function: a file of each dataset, kind of features, method, seed and split that the pattern names."""
        return lambda wildcards: [file for name in self.datasets(wildcards) for file in self.plan.each(pattern, name)]

    def of_runs(self, file: str) -> Files:
        """Input function: a file of every run of a table's datasets."""
        return self.of_datasets(f"{RUN}/{file}")

    def zero_shot(self, file: str) -> Files:
        """Input function: a file of the zero-shot answers to each split, where a table's features allow them."""

        def files(wildcards: Any) -> list[str]:
            run = RUN.replace("{method}", ZERO_SHOT.name).replace("{seed}", "0")
            return [
                path
                for name in self.datasets(wildcards)
                for kind in self.plan.kinds[name]
                if self.plan.knows_actions(name, kind)
                for path in self.plan.each(f"{run}/{file}", name, extractor=[kind])
            ]

        return files

    def case_runs(self, file: str) -> Files:
        """Input function: a file of the run with the first seed of every method."""

        def files(wildcards: Any) -> list[str]:
            first = min(self.plan.settings_of(wildcards).training.seeds)
            of_job = {"extractor": [wildcards.extractor], "split": [wildcards.split], "seed": [first]}
            return self.plan.each(f"{RUN}/{file}", wildcards.dataset, **of_job)

        return files

    def published(self, wildcards: Any) -> list[str]:
        """The published figures of a dataset; those that come with the workflow where the folder has none."""
        if not (path := self.plan.dataset_of(wildcards).published):
            return []
        shipped = self.plan.base / path
        return [str(shipped) if shipped.exists() and not Path(path).exists() else path]

    def published_of_whole(self, wildcards: Any) -> list[str]:
        """The same for the table, which nothing may be made from whose files are gone: see `refuse_absent`.

        An input function, since Snakemake tells the rules its targets only after it has read them.
        """
        self.refuse_absent(f"results/{wildcards.dataset}_{kind}" for kind in ("table.csv", "report.html", "costs.csv"))
        return self.published(wildcards)

    def frames_option(self, wildcards: Any) -> str:
        """The frame stores of the job's dataset. Imported features have none.

        They are no inputs. Whoever deletes them wants neither videos decoded again for pictures nor a finished report
        made anew.
        """
        if self.plan.source(wildcards.dataset) in self.plan.imports:
            return ""
        stores = self.plan.shard_files(wildcards.dataset, "work/{dataset}/frames/shard_{shard}.h5")
        return of_all_shards("--frames", stores)

    def manifests(self, wildcards: Any) -> list[str]:
        """The manifests of all videos of a table's datasets."""
        return [file for name in self.sources(wildcards) for file in self.plan.manifest_files(name, DECODED)]

    def coverage(self, wildcards: Any) -> list[str]:
        """What became of every video, for each kind of features of a table."""
        pattern = "work/{dataset}/features/{extractor}_coverage.csv"
        return [file for name in self.sources(wildcards) for file in self.plan.each(pattern, name)]

    def coverage_names(self, wildcards: Any) -> list[str]:
        """What a report calls the files of `coverage`."""
        sources = self.sources(wildcards)
        return [
            f"{self.plan.datasets[name].title}: {kind}" if len(sources) > 1 else kind
            for name in sources
            for kind in self.plan.kinds[name]
        ]

    def measured(self, wildcards: Any) -> list[str]:
        """The datasets whose jobs a table took."""
        return list(dict.fromkeys([*self.sources(wildcards), *self.datasets(wildcards)]))

    def benchmarks(self, wildcards: Any) -> list[str]:
        """The benchmark files of the jobs that a table takes; those of other settings lie beside them."""
        return list(dict.fromkeys(file for name in self.measured(wildcards) for file in self._benchmarks(name)))

    def _benchmarks(self, name: str) -> list[str]:
        plan, dataset = self.plan, self.plan.datasets[name]
        shards = f"{{0..{dataset.shards - 1}}}"
        jobs = {
            "probe_videos": [shards],
            "decode_frames": [shards],
            "extract": [f"{kind}_{shards}" for kind in plan.kinds[name]],
            "merge_features": plan.kinds[name],
            "import_features": plan.kinds[name],
            "check_features": plan.kinds[name],
            "train": self.plan.each("{extractor}_{method}_{seed}", name),
            "evaluate": self.plan.each("{extractor}_{method}_{seed}_{split}", name),
            "zero_shot": self.plan.each("{extractor}_{split}", name),
            "compute_baselines": list(dataset.test_splits),
            "study_cases": self.plan.each("{extractor}_{split}", name),
        }
        # What datasets share.
        features = plan.settings[name].features
        weights = [] if name in plan.imports else [features[kind].weights for kind in dataset.extractors]
        shared = [f"assets/{Path(asset_or_path(value)).name}" for value in weights]
        shared.append(f"assets/{Path(asset_or_path(plan.settings[name].queries.vectors)).name}")
        shared += [f"fetch/{Path(file).relative_to('data')}" for file in dataset.fetch]
        return [
            f"work/{name}/benchmarks/*.tsv",
            *(f"work/{name}/benchmarks/{rule}/{job}.tsv" for rule, own in jobs.items() for job in own),
            *(f"work/benchmarks/{file}.tsv" for file in shared),
        ]
