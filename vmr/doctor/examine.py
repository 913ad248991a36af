"""All checks of a dataset that `config.yaml` names, from the files that are there."""

from pathlib import Path
from typing import Any

import pandas as pd

from vmr.annotations.moments import video_durations
from vmr.annotations.parse import parsed_of
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
from vmr.video.manifest import find_videos, known_manifest
from vmr.video.probe import probed_durations

_PROBED = 20  # videos that tell the unit of the times


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
    manifest = known_manifest(work / name)
    annotated = video_durations(moments)
    durations = video_durations(moments, manifest)
    if manifest is None and dataset.videos is not None and not durations:
        durations = probed_durations(find_videos(dataset.videos, sorted(moments["video_id"].unique())), most=_PROBED)
    to_be_probed = manifest is None and dataset.videos is not None and not dataset.has_durations
    findings = check_annotations(
        moments,
        report,
        durations,
        train_split=dataset.train_split,
        test_splits=dataset.tested,
        to_be_probed=to_be_probed,
        manifest=manifest,
    )
    vectors = Path(asset_or_path(settings.queries.vectors))
    findings += check_queries(moments, vectors, train_split=dataset.train_split, max_words=settings.queries.max_words)
    held = settings.features.import_
    if held is None and dataset.videos:
        findings += check_videos(moments, Path(dataset.videos))
    findings += check_manifest(manifest, annotated, fps=settings.video.fps) if dataset.videos else []
    rates = frame_rates(manifest)
    for kind in [held.kind] if held else dataset.extractors:
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


def _read_annotations(dataset: DatasetSettings, name: str, work: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    absent = [file for file in [*dataset.annotation_files, *dataset.durations] if not Path(file).is_file()]
    if absent and (dataset.render or dataset.simulate or any(file in dataset.fetch for file in absent)):
        raise AnnotationError(
            f"{absent[0]}: not there yet; `snakemake --cores 1 {work / name}/annotations/moments.csv` fetches or makes "
            "it."
        )
    return parsed_of(dataset)
