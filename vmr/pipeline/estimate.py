"""What jobs will take: seconds of cores and cards by measured figures, and by what earlier ones took here."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from vmr.names import WIDE, Precision
from vmr.pipeline.corpus import Corpus
from vmr.pipeline.costs import stage_costs
from vmr.pipeline.plan import Plan
from vmr.pipeline.resources import gpus
from vmr.pipeline.runlog import Job

# The figures of docs/clusters.md ("Throughput"), which a test compares with benchmarks/results: seconds of one core for
# an hour of video at 24 frames a second, and steps a second of a card.
DECODE, READ, WINDOWS, CONTINUOUS, C3D = 298.0, 166.0, 7583.0, 2016.0, 1993.0  # C3D: stride 16, with reading
CARD_STEPS = 315.0
_ENDS = 32  # frames that both ends of a video cost in one pass, by the operations of videos of 24 and 54 frames
FRAMES_AN_HOUR = 24 * 3600
# Gigabytes for an hour of small and of large video: as it comes, and in the frame store; and for one as it came.
RAW_GB, FRAMES_GB, FRAMES_A_GB = (0.117, 0.322), (0.170, 0.872), (1.4, 2.7)
# A training step of 100 queries of 92 steps at width 512 takes two cores 2.09 s, and 0.105 s at width 128 with 27
# (training_step.json): so it grows with the steps, and with the width to the power of 1.27.
_QUERY, _STEPS, _WIDTH, _POWER = 2 * 2.09 / 100, 92, 512, 1.27
_CARD_QUERY = 1.45 / 11_146  # training_card.json
# Runs at full scale ended after 30 to 90 of 100 epochs, half of them by 55 (ablation.json, patience 10).
_BEFORE_PATIENCE = 0.6
# How much longer networks take in float32, where a processor does not multiply bfloat16 (i3d_variants.json,
# training_step.json).
FLOAT32_NETWORK, FLOAT32_TRAINING = 2.02, 1.78
_PREDICTED = 2 / 107  # seconds of a core for a query, training_epoch.json
# Seconds of a core for a gigabyte of features made elsewhere, rehearsal.json.
_A_GB = {"import_features": 5.1, "check_features": 2.1}
# Not measured: another network beside I3D by its arithmetic, in 10^9 operations a window (I3D: 222, alone).
_ALONE, _OPERATIONS = 2 * 0.65, {"c3d": 77.0, "i3d_r50": 57.0, "slow_r50": 109.0}
_LENGTH = {"c3d": 4096, "i3d_r50": 2048, "slow_r50": 2048}
# Seconds of a core that jobs take with next to no data: those that load torch, and others.
_START, _OTHERS = 6.0, 4.0
_SCALED = ("decode_frames", "extract", "train")  # rules whose earlier jobs tell how fast this machine is
_ENOUGH_SEC = 60.0


@dataclass(frozen=True)
class Stage:
    """What the planned jobs of a rule will take."""

    jobs: int
    core_sec: float
    card_sec: float
    width: int  # cores that they can use at a time

    def hours(self, *, cores: int, cards: int) -> float:
        """On a machine; cards and the cores that feed them work at the same time."""
        by_cores = self.core_sec / max(1, min(cores, self.width))
        return max(by_cores, self.card_sec / max(1, min(cards, self.jobs))) / 3600


class Estimate:
    """Costs of jobs, with or without cards.

    Args:
        corpora: sizes of the datasets; jobs of others cost what an empty one would.
        costs: what jobs of earlier runs took, a table of `vmr.pipeline.costs` by dataset.
        bfloat16: whether the cores multiply it, as those of the measurements do.
    """

    def __init__(
        self,
        plan: Plan,
        corpora: Mapping[str, Corpus],
        *,
        cards: int,
        costs: Mapping[str, pd.DataFrame] | None = None,
        bfloat16: bool = True,
    ) -> None:
        self.plan, self.corpora, self.cards, self.costs, self.bfloat16 = plan, corpora, cards, costs or {}, bfloat16
        self.ratio = cache(self._ratio)

    def stages(self, jobs: Iterable[Job]) -> dict[str, Stage]:
        """By rule, in the order of its first job."""
        found: dict[str, Stage] = {}
        for job in jobs:
            core, card = self.job(job)
            old = found.get(job.rule, Stage(0, 0.0, 0.0, 0))
            width = old.width + self._threads(job)
            found[job.rule] = Stage(old.jobs + 1, old.core_sec + core, old.card_sec + card, width)
        return found

    def job(self, job: Job) -> tuple[float, float]:
        """Seconds of a core and of a card that a job takes."""
        name = job.wildcards.get("dataset", "")
        own = self._earlier(name, job.rule)
        if own is not None and not self._on_card(job):
            return own, 0.0
        core, card = self._modelled(job)
        return core * self.ratio(job.rule), card

    def unmeasured(self, jobs: Iterable[Job]) -> list[str]:
        """The extractors whose speed here follows from their arithmetic."""
        extractions = ((job.wildcards["extractor"], job) for job in jobs if job.rule == "extract")
        return sorted({one for one, job in extractions if one in _OPERATIONS and (one != "c3d" or self._on_card(job))})

    def from_earlier(self, rules: Iterable[str]) -> list[str]:
        """The datasets whose earlier jobs told how long those of some rules take."""
        rules = list(rules)
        return [name for name in self.costs if any(self._earlier(name, rule) is not None for rule in rules)]

    def _earlier(self, name: str, rule: str) -> float | None:
        table = self.costs.get(name)
        rows = table[(table["rule"] == rule) & (table["jobs"] > 0)] if table is not None else None
        if rows is None or rows.empty:
            return None
        cpu = float(rows["cpu_seconds"].fillna(rows["seconds"]).iloc[0])
        return cpu / float(rows["jobs"].iloc[0])

    def _ratio(self, rule: str) -> float:
        """How much longer than modelled jobs of a rule took here, by the dataset with most of them."""
        found = (0.0, 1.0)
        for name in self.costs if rule in _SCALED else ():
            each = self._earlier(name, rule)
            if each is None or name not in self.corpora:
                continue
            total = each * float(self.costs[name].set_index("rule")["jobs"][rule])
            settings = self.plan.settings[name]
            wildcards = {
                "dataset": name,
                "extractor": self.plan.kinds[name][0],
                "method": settings.training.methods[-1],
            }
            if total >= _ENOUGH_SEC:
                found = max(found, (total, each / self._modelled(Job(rule, wildcards=wildcards))[0]))
        return found[1]

    def _on_card(self, job: Job) -> bool:
        settings = self.plan.settings.get(job.wildcards.get("dataset", ""))
        if settings is None or not self.cards:
            return False
        if job.rule == "extract":
            return settings.features[job.wildcards["extractor"]].device != "cpu"
        return job.rule in ("train", "evaluate") and settings.training.device != "cpu"

    def _threads(self, job: Job) -> int:
        if job.rule == "train":
            return self.plan.settings[job.wildcards["dataset"]].training.threads
        return {"decode_frames": 4, "extract": 16}.get(job.rule, 1)

    def _modelled(self, job: Job) -> tuple[float, float]:
        name = job.wildcards.get("dataset", "")
        corpus = self.corpora.get(name) or Corpus(0, 0.0, 0, 0)
        if job.rule in ("probe_videos", "decode_frames", "extract"):
            shards = self.plan.datasets[name].shards
            hours = corpus.hours / shards
            if job.rule == "extract":
                videos = corpus.videos / shards
                return self._extracting(name, job.wildcards["extractor"], hours, videos, on_card=self._on_card(job))
            return _OTHERS + (DECODE * hours if job.rule == "decode_frames" else 0.1 * corpus.videos / shards), 0.0
        if job.rule == "train":
            return self._training(name, job.wildcards["extractor"], corpus, on_card=self._on_card(job))
        if job.rule == "evaluate" and self._on_card(job):
            return 2 * _START, 0.0
        if job.rule == "evaluate":
            return _START + _PREDICTED * corpus.tested * self._size(name, job.wildcards["extractor"], corpus), 0.0
        if job.rule in _A_GB:
            return _OTHERS + _A_GB[job.rule] * _imported_gb(self.plan, name), 0.0
        return (_START if job.rule == "study_cases" else _OTHERS), 0.0

    def _extracting(
        self, name: str, extractor: str, hours: float, videos: float, *, on_card: bool
    ) -> tuple[float, float]:
        section = self.plan.settings[name].features[extractor]
        steps = hours * FRAMES_AN_HOUR / section.stride
        operations = _OPERATIONS.get(extractor)
        if operations is not None:
            core = steps * _ALONE * operations / 222
            if extractor == "c3d":
                core = (C3D * 16 / section.stride - READ) * hours
            rate = CARD_STEPS * 222 / operations
        else:
            area = ((section.crop or 224) / 224) ** 2
            passed = hours + _ENDS * videos / FRAMES_AN_HOUR
            core = area * (
                CONTINUOUS * passed if section.mode == "continuous" else WINDOWS * hours * 8 / section.stride
            )
            rate = CARD_STEPS / area
        if self._in_float32(section.dtype):
            core *= FLOAT32_NETWORK
        fed = _START + READ * hours
        return (fed, steps / rate) if on_card else (fed + core, 0.0)

    def _training(self, name: str, kind: str, corpus: Corpus, *, on_card: bool) -> tuple[float, float]:
        training = self.plan.settings[name].training
        epochs = training.epochs * (_BEFORE_PATIENCE if training.patience < training.epochs else 1.0)
        seen = epochs * corpus.trained * (1 - training.validation_fraction) * self._size(name, kind, corpus)
        wide = self.plan.settings[name].model.hidden >= WIDE
        slower = FLOAT32_TRAINING if wide and self._in_float32(training.precision) else 1.0
        return (_START, 20.0 + _CARD_QUERY * seen) if on_card else (_START + slower * _QUERY * seen, 0.0)

    def _in_float32(self, precision: Precision) -> bool:
        return precision == "float32" or (precision == "auto" and not self.bfloat16)

    def _size(self, name: str, kind: str, corpus: Corpus) -> float:
        """How much a query costs beside one of the measurement."""
        model = self.plan.settings[name].model
        held = self.plan.imports.get(name)
        stride = (held.stride or 8) if held else self.plan.settings[name].features[kind].stride
        each = corpus.hours * FRAMES_AN_HOUR / stride / corpus.videos if corpus.videos else 0.0
        return min(each, model.max_steps) / _STEPS * float((model.hidden / _WIDTH) ** _POWER)


def multiplies_bfloat16() -> bool:
    """Whether this processor does, as `vmr.machine.precision` asks torch; found without loading it."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # no Linux, where torch finds none either
        return False


def disk_gb(plan: Plan, corpora: Mapping[str, Corpus], jobs: Iterable[Job]) -> dict[str, tuple[float, float]]:
    """Gigabytes that planned jobs write, from and to: of the frame store, of features, of videos that are fetched.

    Imported features are taken to be as large as they lie there; half precision or compression make theirs larger.
    """
    found: dict[str, tuple[float, float]] = {}

    def add(what: str, low: float, high: float) -> None:
        before = found.get(what, (0.0, 0.0))
        found[what] = before[0] + low, before[1] + high

    for job in jobs:
        name = job.wildcards.get("dataset", "")
        corpus = corpora.get(name)
        if job.rule.startswith("fetch_videos_") and (own := corpora.get(job.rule.removeprefix("fetch_videos_"))):
            add("videos and their archive", 2 * RAW_GB[0] * own.hours, 2 * RAW_GB[1] * own.hours)
        if job.rule == "import_features" and (size := _imported_gb(plan, name)):
            add("features", size, size)
        if corpus is None or job.rule not in ("decode_frames", "extract"):
            continue
        share = 1 / plan.datasets[name].shards
        if job.rule == "decode_frames":
            if corpus.there and corpus.there == corpus.videos:
                add("frames", *(share * corpus.gigabytes * factor for factor in FRAMES_A_GB))
            else:
                add("frames", *(share * corpus.hours * each for each in FRAMES_GB))
        else:
            extractor = job.wildcards["extractor"]
            steps = corpus.hours * FRAMES_AN_HOUR / plan.settings[name].features[extractor].stride
            size = share * steps * _LENGTH.get(extractor, 1024) * 4 / 1e9
            add("features", size, size)
    return found


def _imported_gb(plan: Plan, name: str) -> float:
    """Size of the features that a dataset imports; 0 where it imports none, or they are not there yet."""
    if name not in plan.imports:
        return 0.0
    source = Path(plan.imports[name].source)
    files = source.rglob("*") if source.is_dir() else [source]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e9


def earlier_costs(plan: Plan) -> dict[str, pd.DataFrame]:
    """What jobs of earlier runs took, by dataset: ``results/{dataset}_costs.csv``, else the benchmark files."""
    found: dict[str, pd.DataFrame] = {}
    for name in plan.datasets:
        try:
            table = pd.read_csv(f"results/{name}_costs.csv")
            found[name] = table[["rule", "jobs", "seconds", "cpu_seconds"]]
            continue
        except (OSError, ValueError, KeyError):
            pass
        benchmarks = Path("work", name, "benchmarks")
        if costs := stage_costs([benchmarks]) if benchmarks.is_dir() else []:
            found[name] = pd.DataFrame([vars(cost) for cost in costs])[["rule", "jobs", "seconds", "cpu_seconds"]]
    return found


def cards_here() -> int:
    """Cards that jobs take at a time on this machine, unless Snakemake is told of more."""
    return gpus("auto") if os.environ.get("CUDA_VISIBLE_DEVICES", "all") else 0
