"""Features that people already hold, taken in with the seconds of their steps and checked against the videos."""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float64
from tqdm import tqdm

from vmr.annotations.moments import read_moments
from vmr.config.feature_sections import ImportSettings
from vmr.errors import FeatureError
from vmr.features.foreign_names import joined_source
from vmr.features.foreign_sources import open_source, told_by
from vmr.features.store import COVERAGE_COLUMNS, END, FEATURES, GROUPS, START, VideoFeatures
from vmr.storage.checksums import seal_file
from vmr.storage.files import atomic_path, sha256_file, writing
from vmr.storage.hdf5 import new_hdf5
from vmr.storage.provenance import library_versions
from vmr.storage.records import write_table
from vmr.video.manifest import known_durations

log = logging.getLogger(__name__)

_REASONS_SHOWN = 5
_LENGTH_SHARE = 0.1  # of a duration, by which steps that have seconds may end elsewhere
_MANY_MISSING = 0.1  # of the videos: names that are written otherwise, perhaps
# How the seconds of steps were found, by whether fps and window are known.
_TIMES = {
    (False, False): "spread evenly over the duration",
    (True, False): "stride / fps",
    (True, True): "stride / fps, in the middle of whole windows",
}


def import_features(
    settings: ImportSettings,
    *,
    output: Path,
    coverage: Path,
    moments: Path,
    manifests: list[Path],
    code_digest: str,
) -> None:
    """Take features made elsewhere into a feature file like our own; half precision stays what it is.

    Args:
        coverage: CSV to write: video_id, status (ok, missing, bad), reason, steps.

    Raises:
        FeatureError: the source cannot be read, or too few of its videos are usable. A wrong stride or frame rate shows
            so, and so do two kinds of features in one source.
        ShardError: the disk is full or a folder cannot be written.
    """
    source, fps, stride, window = Path(settings.source), settings.fps, settings.stride, settings.window
    table = read_moments(moments)
    durations = known_durations(table, manifests)
    rows: list[dict[str, object]] = []
    numbers: dict[str, int] = {}  # length of the vectors of each video
    shapes: list[tuple[int, ...]] = []
    shortened = 0
    of_files = hashlib.sha256()  # of folders
    with (
        open_source(settings) as read,
        writing(output),
        atomic_path(output) as temporary,
        new_hdf5(temporary) as file,
    ):
        if read.made is not None:
            _refuse_other_rate(settings, read.made)
        for group in GROUPS:
            file.create_group(group)
        for video_id in tqdm(sorted(table["video_id"].unique()), desc="import", unit="video", disable=None):
            try:
                features = read(video_id)
                if features is None:
                    near = read.nearest(video_id)
                    rows.append(
                        {"video_id": video_id, "status": "missing", "reason": f"not in {source}{near}", "steps": 0}
                    )
                    continue
                duration = durations.get(video_id, float("nan"))
                shapes.append(features.shape)
                if (own := read.seconds(video_id)) is not None:
                    start, end = own
                    refuse_other_length(len(end), float(end[-1]), float(end[0] - start[0]), duration=duration)
                else:
                    start, end = times_of_shape(features.shape, settings, duration=duration)
                read_steps, features = len(features), features[: len(start)]
                video = VideoFeatures(features.astype(np.float32), start, end)
            except FeatureError as error:
                rows.append({"video_id": video_id, "status": "bad", "reason": str(error), "steps": 0})
                continue
            for path in read.files_of(video_id):
                _add_file(of_files, path)
            numbers[video_id] = video.features.shape[1]
            file[FEATURES][video_id], file[START][video_id], file[END][video_id] = features, start, end
            beyond = read_steps - len(features)
            told = [f"{beyond} of {read_steps} steps lie beyond its end and were left out"] if beyond else []
            shortened += bool(beyond)
            told += [read.notes[video_id]] if video_id in read.notes else []
            rows.append({"video_id": video_id, "status": "ok", "reason": "; ".join(told), "steps": len(features)})
        if are_transposed(shapes):
            raise FeatureError(f"{source}: {TRANSPOSED}.")
        if fps is None and may_be_transposed(shapes):
            log.warning("%s: all have %d rows: as it seems, %s", source, shapes[0][0], TRANSPOSED)
        others = of_another_length(numbers)
        # Which length is the usual one is known only now, and what was read does not stay in memory: so they were
        # written and are taken out again. Their space in the file is lost; they are few, or the import fails.
        for video_id in others:
            for group in GROUPS:
                del file[group][video_id]
        for row in rows:
            if reason := others.get(str(row["video_id"])):
                row.update(status="bad", reason=reason, steps=0)
        report = pd.DataFrame(rows, columns=COVERAGE_COLUMNS)
        _check(report, source, settings.max_failed_share, read.told)
        # Before the features get their name, whose presence then says that all is done.
        write_table(coverage, report)
        imported = {
            "source": source.name,
            "source_sha256": of_files.hexdigest() if settings.layout == "npy_folder" else sha256_file(source),
            "code_digest": code_digest,
            "versions": library_versions(["vmr", "numpy", "h5py"]),
        }
        provenance = {
            "extractor": settings.kind,
            "dim": next((length for video_id, length in numbers.items() if video_id not in others), None),
            "mode": "imported",
            "source_provenance": _told_by(source) if settings.layout == "hdf5" else None,
            "layout": settings.layout,
            "pattern": settings.pattern,
            "join": settings.join,
            "join_sha256": [sha256_file(path) for path, kind, _ in map(joined_source, settings.join) if kind == "hdf5"],
            "transposed": settings.transposed,
            "notes": sorted(set(read.notes.values())),
            "fps": fps,
            "stride": stride,
            "window": window,
            "step_times": _TIMES[fps is not None, window is not None],
            "pca": None,
            **imported,
        }
        # Those of ours stay what they are, so that what is trained on them can be asked about videos, too.
        kept: dict[str, Any] = provenance if read.made is None else {**read.made, "imported": imported}
        file.attrs["provenance"] = json.dumps(kept, sort_keys=True)
        seal_file(file)
    for note, videos in Counter(read.notes.values()).most_common(_REASONS_SHOWN):
        log.warning("%s: of %d videos, %s", source, videos, note)
    if shortened:
        log.warning(
            "%s: steps of %d videos lie beyond their ends and were left out, see %s", source, shortened, coverage
        )
    log.info("%s: %s", source, report["status"].value_counts().to_dict())


def refuse_other_length(steps: int, end_sec: float, step_sec: float, *, duration: float) -> None:
    """Refuse steps that end a step and a tenth away from their video's end, where its duration in seconds is known.

    Args:
        end_sec: the end of the last step.
        step_sec: how long the first one lasts.

    Raises:
        FeatureError: they do.
    """
    if abs(end_sec - duration) > max(step_sec, _LENGTH_SHARE * duration):
        raise FeatureError(f"its {steps} steps end at {end_sec:.2f} s, its duration is {duration:.2f} s")


def _refuse_other_rate(settings: ImportSettings, made: Mapping[str, Any]) -> None:
    for name in ("fps", "stride"):
        stated, told = getattr(settings, name), made.get(name)
        if stated is not None and told is not None and stated != told:
            raise FeatureError(
                f"{settings.source}: says that it was made with {name} {told:g}, not {stated:g}. Leave out fps and "
                "stride: the file has the seconds of its steps."
            )


def of_another_length(numbers: Mapping[str, int]) -> dict[str, str]:
    """By video what is wrong with it, where its vectors are not as long as most. Of equally many, the shorter length is
    right.

    >>> of_another_length({"a": 4, "b": 1024, "c": 1024})
    {'a': 'vectors of 4 numbers, those of 2 of 3 videos have 1,024'}
    """
    counts = Counter(sorted(numbers.values()))
    if len(counts) < 2:
        return {}
    usual, videos = counts.most_common(1)[0]
    others = f"those of {videos:,} of {len(numbers):,} videos have {usual:,}"
    return {
        video_id: f"vectors of {length:,} numbers, {others}" for video_id, length in numbers.items() if length != usual
    }


def _check(report: pd.DataFrame, source: Path, max_failed_share: float, told: Callable[[Sequence[str]], str]) -> None:
    bad = report[report["status"] == "bad"]
    found = int((report["status"] != "missing").sum())
    # Reasons that differ in names and numbers only are one.
    kinds: dict[str, str] = {}
    for video_id, reason in zip(bad["video_id"].astype(str), bad["reason"].astype(str), strict=True):
        kinds.setdefault(re.sub(r"\d[\d.,]*", "", reason.replace(video_id, "")), f"{video_id}: {reason}")
    shown = "; ".join(list(kinds.values())[:_REASONS_SHOWN])
    if not found:
        raise FeatureError(
            f"{source}: none of the {len(report)} videos of the annotations is in it, such as "
            f"{report['video_id'].iloc[0]}. {told(report['video_id'].tolist())}"
        )
    if len(bad) == found or len(bad) / found > max_failed_share:
        advice = " Check fps, stride and window." if "its duration is" in shown else ""
        raise FeatureError(f"{source}: {len(bad)} of {found} videos found are unusable. First: {shown}.{advice}")
    missing = report[report["status"] == "missing"]
    if len(missing) > _MANY_MISSING * len(report):
        one, reason = missing[["video_id", "reason"]].iloc[0]
        log.warning("%s: %d of %d videos are not in it, such as %s: %s", source, len(missing), len(report), one, reason)
    if len(bad):
        log.warning("%s: %d of %d videos found are unusable. First: %s", source, len(bad), found, shown)


# What is said of arrays whose first axis is that of the numbers.
TRANSPOSED = "the arrays are transposed, (numbers, steps) where (steps, numbers) is expected; write `transposed: true`"
_LENGTHS = frozenset({500, 512, 768, 1024, 1280, 1536, 2048, 2304, 2816, 4096})  # of vectors, as networks give them
_MOST_STEPS = 25.0  # a second, of arrays whose rate nobody states


def are_transposed(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether videos have equally many rows but another number of columns each, as transposed arrays do.

    >>> are_transposed([(1024, 90), (1024, 100), (1024, 36)]), are_transposed([(90, 1024), (100, 1024)])
    (True, False)
    """
    rows, columns = {shape[0] for shape in shapes}, {shape[1] for shape in shapes}
    return len(rows) == 1 and len(columns) > max(1, len(shapes) // 2) and max(rows) > min(columns)


def may_be_transposed(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether all videos have as many rows as networks' vectors have numbers, and columns as none has.

    So look transposed arrays of videos that all last as long; one that was cut into 512 steps may look so, too.

    >>> may_be_transposed([(512, 75)]), may_be_transposed([(75, 512)]), may_be_transposed([(512, 512)])
    (True, False, False)
    """
    return bool(shapes) and all(rows in _LENGTHS and columns not in _LENGTHS for rows, columns in shapes)


def times_of_shape(
    shape: tuple[int, ...], settings: ImportSettings, *, duration: float
) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """`step_times` of an array, with a word where its axes are exchanged.

    Raises:
        FeatureError: as `step_times`, or the other axis is that of the steps.
    """
    rows, columns = shape

    def times(steps: int) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
        fps, stride, window = settings.fps, settings.stride, settings.window
        return step_times(steps, duration=duration, fps=fps, stride=stride, window=window)

    said = f"{rows:,} steps of {columns:,} numbers for a video of {duration:.2f} s: {TRANSPOSED}"
    try:
        found = times(rows)
    except FeatureError as error:
        try:
            times(columns)
        except FeatureError:
            raise error from None
        raise FeatureError(said) from error
    if settings.fps is None and rows > _MOST_STEPS * duration > columns:
        raise FeatureError(said)
    return found


def step_times(
    steps: int, *, duration: float, fps: float | None, stride: float | None, window: float | None
) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """Start and end in seconds of each step of features that were made elsewhere, if it begins before the video ends.

    A count may exceed the duration by a step or a tenth; what lies beyond has no seconds of its own. Steps are not
    stretched to fit: most often a duration was rounded or cut, and the stated rate holds.

    >>> start, end = step_times(330, duration=100.0, fps=24.0, stride=8.0, window=None)
    >>> len(start), float(end[-1])
    (300, 100.0)

    Args:
        window: frames that a step sees, where only whole windows were used, see `step_seconds`.

    Raises:
        FeatureError: the count does not fit the duration, or neither duration nor rate is known.
    """
    known = bool(np.isfinite(duration) and duration > 0)
    if fps is None or stride is None:
        if not known:
            raise FeatureError("its duration is unknown, so its steps cannot be spread over it: give fps and stride")
        edges = np.linspace(0.0, duration, steps + 1)
        return edges[:-1], edges[1:]
    step = stride / fps
    seen = ((steps - 1) * stride + (stride if window is None else window)) / fps
    # One step of rounding, and what re-encoding does to durations.
    allowed = max(step, 0.1 * duration)
    shorter_than_a_window = steps == 1 and duration < seen
    if known and abs(seen - duration) > allowed + 1e-6 and not shorter_than_a_window:
        windows = "" if window is None else f" and windows of {window / fps:.3f} s"
        raise FeatureError(
            f"{steps} steps of {step:.3f} s{windows} are {seen:.2f} s, its duration is {duration:.2f} s: expected "
            f"about {max(round((duration - seen) / step) + steps, 1)} steps"
        )
    edges = np.arange(steps + 1, dtype=np.float64) * step
    if window is not None:
        edges += (window - stride) // 2 / fps
        edges[0], edges[-1] = 0.0, duration if known else seen
    if not known:
        return edges[:-1], edges[1:]
    # A millionth of a step is the rounding of stride / fps, and no step.
    inside = max(int((edges[:-1] < duration - 1e-6 * step).sum()), 1)
    edges = np.minimum(edges[: inside + 1], duration)
    return edges[:-1], edges[1:]


def _add_file(digest: "hashlib._Hash", path: Path) -> None:
    """Take name and content of a video's file into the digest of a folder, whose other files do not count."""
    try:
        content = sha256_file(path)
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read a second time ({error}). Start again.") from error
    digest.update(f"{path.name}\0{content}\n".encode("utf-8", "surrogateescape"))


def _told_by(source: Path) -> dict[str, Any] | None:
    if not h5py.is_hdf5(source):
        return None
    with h5py.File(source, "r", locking=False) as file:
        return told_by(file)
