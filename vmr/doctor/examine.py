"""All checks of a dataset that `config.yaml` names, from the files that are there."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from vmr.annotations.moments import read_moments, video_durations
from vmr.annotations.parse import parse_annotations
from vmr.assets.registry import is_path
from vmr.config import Config, DatasetSettings, ImportSettings
from vmr.doctor.check_annotations import check_annotations
from vmr.doctor.check_features import HeldFeatures, check_features
from vmr.doctor.check_queries import check_queries
from vmr.doctor.check_videos import check_manifest, check_videos
from vmr.doctor.findings import Finding, skipped
from vmr.errors import AnnotationError, DamageError, FeatureError
from vmr.features.foreign_sources import open_source
from vmr.features.importers import times_of_shape
from vmr.features.store import FeatureStore
from vmr.storage.hdf5 import reading
from vmr.video.manifest import read_manifest

# What is made lies within a step and a tenth of the duration of the video's end, as the import demands.
_LENGTH_SHARE = 0.1


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
    named = settings.queries.vectors
    vectors = Path(named) if is_path(named) else Path("data/assets") / f"{named}.txt"
    findings += check_queries(moments, vectors, train_split=dataset.train_split, max_words=settings.queries.max_words)
    held = settings.features.import_
    if held is None and dataset.videos:
        findings += check_videos(moments, Path(dataset.videos))
    findings += check_manifest(manifest, annotated, fps=settings.video.fps) if dataset.videos else []
    rates = _rates(manifest)
    for kind in config.feature_kinds(name):
        path = work / name / "features" / f"{kind}.h5"
        if held is not None:
            features = _imported(held, durations)
        elif path.is_file():
            features = _extracted(kind, path, durations)
        else:
            findings.append(skipped(f"features ({kind})", f"not made yet: snakemake --cores all {path}"))
            continue
        findings += check_features(features, moments["video_id"], rates, to_be_probed=to_be_probed)
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


def _rates(manifest: pd.DataFrame | None) -> dict[str, tuple[float, float]]:
    if manifest is None:
        return {}
    known = manifest[(manifest["fps"] > 0) & (manifest["duration_sec"] > 0)]
    numbers = zip(known["fps"].astype(float), known["duration_sec"].astype(float), strict=True)
    return dict(zip(known["video_id"], numbers, strict=True))


def _imported(held: ImportSettings, durations: Mapping[str, float]) -> HeldFeatures:
    def check_length(shape: tuple[int, ...], video_id: str) -> None:
        times_of_shape(shape, held, duration=durations.get(video_id, float("nan")))

    return HeldFeatures(
        name=held.kind,
        open=partial(open_source, held),
        check_length=check_length,
        advice=f"They are not in {held.source} under their ids, with or without `v_`.",
        fps=held.fps,
        stride=held.stride,
        window=held.window,
    )


def _extracted(kind: str, path: Path, durations: Mapping[str, float]) -> HeldFeatures:
    ends: dict[str, tuple[float, float]] = {}

    @contextmanager
    def opened() -> Iterator[Callable[[str], Float[np.ndarray, "..."] | None]]:
        with FeatureStore(path) as store:

            def read(video_id: str) -> Float[np.ndarray, "..."] | None:
                if video_id not in store:
                    return None
                try:
                    with reading(path, f"what it holds of {video_id}"):
                        features, start_sec, end_sec = map(np.asarray, store.arrays(video_id))
                        ends[video_id] = float(end_sec[-1]), float(end_sec[0] - start_sec[0])
                except DamageError as error:  # of one video: the others are looked at all the same
                    raise FeatureError(str(error)) from error
                return features

            yield read

    def check_length(shape: tuple[int, ...], video_id: str) -> None:
        end, step = ends[video_id]
        duration = durations.get(video_id)
        if duration is not None and abs(end - duration) > max(step, _LENGTH_SHARE * duration):
            raise FeatureError(f"its {shape[0]} steps end at {end:.2f} s, its duration is {duration:.2f} s")

    advice = f"{path.with_name(kind + '_coverage.csv')} has the reasons."
    return HeldFeatures(name=kind, open=opened, check_length=check_length, advice=advice)
