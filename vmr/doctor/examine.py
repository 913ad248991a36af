"""All checks of a dataset that `config.yaml` names, from the files that are there."""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pandas as pd

from vmr.annotations.moments import read_moments, video_durations
from vmr.annotations.parse import parse_annotations
from vmr.assets.registry import asset_or_path
from vmr.config.datasets import DatasetSettings
from vmr.config.whole import Config
from vmr.doctor.check_annotations import check_annotations
from vmr.doctor.check_features import check_features
from vmr.doctor.check_queries import check_queries
from vmr.doctor.check_videos import check_manifest, check_videos
from vmr.doctor.findings import Finding, skipped
from vmr.doctor.held import extracted, frame_rates, imported
from vmr.errors import AnnotationError
from vmr.video.manifest import find_videos, read_manifest
from vmr.video.probe import probe_video

_PROBED, _PROBE_SEC = 20, 10.0


def examine(config: Config, name: str, *, work: Path = Path("work")) -> list[Finding]:
    """Check a dataset before training.

    Annotations are read anew from the files; videos, manifests and features as far as they are there. Features that
    are imported are read at their source, before or after the import.

    Raises:
        ConfigError: there is no such dataset.
        AnnotationError: its annotations are missing or cannot be read.
        FeatureError: a file of features cannot be opened at all.
    """
    settings, dataset = config.for_dataset(name), config.datasets[name]
    moments, report = _read_annotations(dataset, name, work)
    manifest = _manifest(work / name)
    annotated = video_durations(moments)
    durations = video_durations(moments, manifest)
    if manifest is None and dataset.videos is not None and not durations:
        durations = _probed(find_videos(dataset.videos, sorted(moments["video_id"].unique())))
    to_be_probed = manifest is None and dataset.videos is not None and not dataset.has_durations
    findings = check_annotations(
        moments,
        report,
        durations,
        train_split=dataset.train_split,
        test_splits={split for splits in dataset.test_splits.values() for split in splits},
        to_be_probed=to_be_probed,
        unusable=[] if manifest is None else manifest.loc[manifest["status"] != "ok", "video_id"].tolist(),
    )
    vectors = Path(asset_or_path(settings.queries.vectors))
    findings += check_queries(moments, vectors, train_split=dataset.train_split, max_words=settings.queries.max_words)
    held = settings.features.import_
    if held is None and dataset.videos:
        findings += check_videos(moments, Path(dataset.videos))
    findings += check_manifest(manifest, annotated, fps=settings.video.fps) if dataset.videos else []
    rates = frame_rates(manifest)
    for kind in config.feature_kinds(name):
        path = work / name / "features" / f"{kind}.h5"
        if held is not None:
            features = imported(held, durations)
        elif path.is_file():
            features = extracted(kind, path, durations)
        else:
            findings.append(skipped(f"features ({kind})", f"not made yet: snakemake --cores all {path}"))
            continue
        trained = moments.loc[moments["split"] == dataset.train_split, "video_id"]
        findings += check_features(features, moments["video_id"], rates, trained=trained, to_be_probed=to_be_probed)
    return findings


def _read_annotations(dataset: DatasetSettings, name: str, work: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    files = [Path(file) for own in dataset.annotations.values() for file in own] + list(map(Path, dataset.durations))
    absent = [str(file) for file in files if not file.is_file()]
    if absent and (dataset.render or dataset.simulate or any(file in dataset.fetch for file in absent)):
        raise AnnotationError(
            f"{absent[0]}: not there yet; `snakemake --cores 1 {work / name}/annotations/moments.csv` fetches or makes "
            "it."
        )
    with _quiet("vmr.annotations"), tempfile.TemporaryDirectory() as folder:
        moments, report = Path(folder) / "moments.csv", Path(folder) / "report.json"
        parse_annotations(
            annotation_format=dataset.annotation_format,
            annotations={split: [Path(file) for file in own] for split, own in dataset.annotations.items()},
            durations=[Path(file) for file in dataset.durations],
            train_split=dataset.train_split,
            accept_wrong=True,  # a finding, here
            output=moments,
            report=report,
        )
        return read_moments(moments), json.loads(report.read_text(encoding="utf-8"))


def _probed(files: Mapping[str, Path]) -> dict[str, float]:
    """Durations of the first few videos, which tell the unit of the times: ffprobe takes some milliseconds for each."""
    if shutil.which("ffprobe") is None:
        return {}
    probed = {name: probe_video(path, timeout_sec=_PROBE_SEC) for name, path in islice(files.items(), _PROBED)}
    return {name: float(row["duration_sec"]) for name, row in probed.items() if row["status"] == "ok"}


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without the warnings of a package: what it would warn of is in the table."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _manifest(folder: Path) -> pd.DataFrame | None:
    """Rows of decoded videos where there are any, else of probed ones."""
    for stage in ("frames", "videos"):
        shards = sorted((folder / stage).glob("shard_*.csv"))
        if shards:
            return read_manifest(shards)
    return None
