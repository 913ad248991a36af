"""The stage `check_dataset`: the doctor's checks on the files of a run, which stops where something is wrong."""

import json
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from vmr.annotations.moments import read_moments, video_durations
from vmr.config.sections import QuerySettings, VideoSettings
from vmr.doctor.check_annotations import check_annotations
from vmr.doctor.check_features import check_features
from vmr.doctor.check_queries import check_queries
from vmr.doctor.check_videos import check_manifest
from vmr.doctor.findings import Finding, findings_table
from vmr.doctor.held import extracted, frame_rates
from vmr.errors import DatasetError
from vmr.storage.files import write_text, writing
from vmr.video.manifest import read_manifest

log = logging.getLogger(__name__)


def check_dataset(
    *,
    moments: Path,
    report: Path,
    vectors: Path | None,
    features: Path | None,
    manifests: Sequence[Path],
    train_split: str,
    test_splits: Collection[str],
    queries: QuerySettings,
    video: VideoSettings,
    accept_wrong: bool,
    output: Path,
) -> None:
    """Check what is given of a dataset, and stop before training where something is wrong.

    Args:
        report: what `parse_annotations` wrote beside the moments.
        vectors: word vectors, to look at the sentences; None leaves them out.
        features: merged features, to look at them and at the videos; None leaves both out.

    Raises:
        DatasetError: something is wrong.
    """
    table = read_moments(moments)
    manifest = read_manifest(manifests) if manifests else None
    durations = video_durations(table, manifest)
    findings = check_annotations(
        table,
        json.loads(report.read_text(encoding="utf-8")),
        durations,
        train_split=train_split,
        test_splits=test_splits,
        to_be_probed=not durations,
        manifest=manifest,
    )
    if vectors is not None:
        findings += check_queries(table, vectors, train_split=train_split, max_words=queries.max_words)
    if features is not None:
        findings += check_manifest(manifest, video_durations(table), fps=video.fps)
        findings += check_features(
            extracted(features.stem, features, durations),
            table["video_id"],
            frame_rates(manifest),
            trained=table.loc[table["split"] == train_split, "video_id"],
            to_be_probed=not durations,
        )
    wrong = [finding for finding in findings if finding.level == "wrong"]
    with writing(output):
        write_text(output, findings_table(findings) + "\n")
    if wrong:
        log.warning("what is wrong:\n%s", findings_table(wrong))
        if not accept_wrong:
            raise DatasetError(
                f"{moments}: {len(wrong)} checks found something wrong: {'; '.join(map(_told, wrong))}. `vmr doctor` "
                "shows all. Correct it, or go on all the same with `accept_wrong: true` in the dataset's section."
            )


def _told(finding: Finding) -> str:
    return f"{finding.check} ({finding.count:,}, such as {finding.examples[0]})"
