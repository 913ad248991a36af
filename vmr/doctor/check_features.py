"""Checks of features: missing videos, odd values, lengths, and one video under two names."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from tqdm import tqdm

from vmr.doctor.findings import EXAMPLES, Finding, found
from vmr.errors import FeatureError
from vmr.features.foreign_sources import FeatureSource
from vmr.features.importers import TRANSPOSED, are_transposed, may_be_transposed, of_another_length

# Equal rows in a row that are worth a note. Two to four come of features that were drawn out by repetition, and a title
# stands for a second or two, six steps of a third of a second; one window in addition has to be still for the first.
_FROZEN_ROWS = 8
# So many videos, of durations so far apart, tell whether numbers of steps follow durations, and at which rate.
_FEWEST_PACED, _SPREAD, _FOLLOWS, _SAME_PACE = 10, 1.5, 0.5, 0.02
_FITS = 0.05  # a count of steps fits a duration and rate when it is off by less


@dataclass(frozen=True)
class HeldFeatures:
    """Features as the checks see them."""

    name: str  # of the features, for messages
    # gives a reader: the array of a video as it lies there, None for a video without; FeatureError for one that is no
    # array
    open: Callable[[], AbstractContextManager[Callable[[str], Float[np.ndarray, "..."] | None]]]
    # refuses a shape (steps, numbers), the first argument, that does not fit a video, the second, by a FeatureError
    check_length: Callable[[tuple[int, ...], str], None]
    advice: str  # what to do about videos that have none
    # rate at which imported features are said to have been made, with stride; None when not said
    fps: float | None = None
    stride: float | None = None  # frames between two steps
    window: float | None = None  # frames that a step sees, where only whole windows were used; else None
    durations: Mapping[str, float] = field(default_factory=dict)  # seconds that the numbers of steps are held against


def check_features(
    held: HeldFeatures,
    video_ids: Iterable[str],
    rates: Mapping[str, tuple[float, float]],
    *,
    trained: Iterable[str],
    to_be_probed: bool = False,
) -> list[Finding]:
    """Read the features of every video and judge them.

    Args:
        trained: the videos of them that are trained on; nothing comes of a run in which none has features.
        rates: frame rate and duration in seconds of the videos that have been probed.
    """
    faults: defaultdict[str, list[str]] = defaultdict(list)  # by check
    shapes: dict[str, tuple[int, ...]] = {}
    rated = 0
    first: dict[bytes, str] = {}
    wanted = sorted(set(video_ids))
    with held.open() as read:
        for video_id in tqdm(wanted, desc=f"check {held.name}", unit="video", disable=None):
            try:
                features = read(video_id)
            except FeatureError as error:
                faults["unusable"].append(f"{video_id}: {error}")
                continue
            if features is None:
                few = len(faults["missing"]) < EXAMPLES
                near = read.nearest(video_id) if isinstance(read, FeatureSource) and few else ""
                faults["missing"].append(f"{video_id}{near}")
                continue
            shapes[video_id] = features.shape
            own = _odd_values(features)
            try:
                held.check_length(features.shape, video_id)
            except FeatureError as error:
                own["length against duration"] = str(error)
            if video_id in rates and held.fps is not None and held.stride is not None:
                rated += 1
                own["frame rate"] = _odd_rate(len(features), rates[video_id], held)
            for check, fault in own.items():
                faults[check] += [f"{video_id}: {fault}"] if fault else []
            digest = hashlib.blake2b(np.ascontiguousarray(features).data, digest_size=16).digest()
            other = first.setdefault(digest, video_id)
            if other != video_id:
                faults["identical in two videos"].append(f"{video_id} is {other}")
        missing = faults["missing"]
        told = read.told(wanted) if isinstance(read, FeatureSource) and len(missing) == len(wanted) else ""
    there = len(wanted) - len(missing)
    untrained = set(trained).issubset(missing)
    whose = ", and none to train on has features" if untrained else ""
    unrated = "" if rated else "no video that has features has been probed"
    if held.fps is None or held.stride is None:
        unrated = "no rate is stated to compare with that of the videos"
    steps = [(held.durations[name], shape[0]) for name, shape in shapes.items() if held.durations.get(name, 0.0) > 0]
    faults["steps against durations"] = odd_steps(steps, held)
    every = list(shapes.values())
    if are_transposed(every) or (held.fps is None and may_be_transposed(every)):
        faults["transposed arrays"] = [f"all have {every[0][0]:,} rows"]
    others = of_another_length({name: shape[1] for name, shape in shapes.items()})
    faults["vectors of another length"] = [f"{video_id}: {reason}" for video_id, reason in others.items()]

    def judged(check: str, advice: str, **how: Any) -> Finding:
        return found(f"features ({held.name}): {check}", faults[check], advice, **how)

    return [
        judged(
            "missing",
            f"{len(wanted):,} videos are annotated{whose}. {told or held.advice}",
            level="wrong" if untrained else "note",
        ),
        judged("unusable", "Expected an array of numbers, (steps, numbers). Make them again.", of=there),
        judged(
            "length against duration",
            "Are stride and frame rate right, and is it the same video? Such videos are left out.",
            of=there,
            skip="no video has been probed" if to_be_probed else "",
        ),
        judged(
            "frame rate",
            "The steps fit the video's own rate: extract from frames at a constant rate, or import without fps and "
            "stride, so that steps are spread over the duration.",
            of=rated,
            skip=unrated,
        ),
        judged(
            "steps against durations",
            "Are the features those of these videos, and made at that rate?",
            level="note" if held.fps else "wrong",
        ),
        judged("NaN or infinity", "Make the features of these videos again."),
        judged("transposed arrays", f"As it seems, {TRANSPOSED}."),
        judged(
            "vectors of another length",
            "The import leaves these videos out, and training takes vectors of one length: make their features as the "
            "others'.",
            of=there,
        ),
        judged(
            "constant rows",
            "Zeros or a still picture: black frames, a decoder that failed, or padding taken for features.",
            of=there,
        ),
        judged(
            "frozen stretches",
            "A still picture, a decoder that hung, or padding by repetition: look at the videos there. Moments in such "
            "a stretch cannot be told apart.",
            level="note",
        ),
        judged(
            "identical in two videos",
            "One video under two names, or a file copied by mistake: scores count it twice, or train on test.",
            of=there,
        ),
    ]


def odd_steps(steps: Sequence[tuple[float, int]], held: HeldFeatures) -> list[str]:
    """What all numbers of steps together say, which each alone does not: that they do not follow the durations, as
    those of other videos do, or follow them at another rate than is stated.

    Args:
        steps: duration in seconds and number of steps of each video.
    """
    pairs = np.array(steps, dtype=np.float64).reshape(-1, 2)
    counts = pairs[:, 1]
    if held.fps is None and len(pairs):  # numbers that were cut or filled up tell nothing
        pairs = pairs[(counts > counts.min()) & (counts < counts.max())]
    if len(pairs) < _FEWEST_PACED or np.quantile(pairs[:, 0], 0.9) < _SPREAD * np.quantile(pairs[:, 0], 0.1):
        return []
    seconds, counts = pairs.T
    if held.fps is None or held.stride is None:
        ranks = pd.DataFrame(pairs).rank().to_numpy()
        alike = float(np.corrcoef(ranks.T)[0, 1]) if len(set(counts)) > 1 else 0.0
        return [f"longer videos do not have more steps (rank correlation {alike:.2f})"] if alike < _FOLLOWS else []
    seen = ((counts - 1) * held.stride + (held.window or held.stride)) / held.fps
    slope, offset = np.polyfit(seconds, seen, 1)
    is_line = float(np.abs(slope * seconds + offset - seen).max()) <= 1.5 * held.stride / held.fps
    if is_line and abs(slope - 1) > _SAME_PACE:
        return [f"they fit {held.fps * slope:.4g} frames a second, not {held.fps:g}"]
    return []


def _odd_values(features: Float[np.ndarray, "N D"]) -> dict[str, str]:
    """What is odd about the values of a video, by check."""
    odd = {}
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        odd["NaN or infinity"] = f"{int((~finite).sum())} of {len(features)} steps"
    flat = finite & (features == features[:, :1]).all(axis=1)
    if features.shape[1] > 1 and flat.any():
        odd["constant rows"] = f"{int(flat.sum())} of {len(features)} steps have equal numbers"
    elif len(features) > 1 and finite.all() and (features == features[:1]).all():
        return {"constant rows": f"its {len(features)} steps are all the same"}
    first, rows = _longest_stretch((features[1:] == features[:-1]).all(axis=1) & ~flat[1:])
    if rows >= _FROZEN_ROWS:
        odd["frozen stretches"] = f"steps {first + 1} to {first + rows} of {len(features)} are the same"
    return odd


def _longest_stretch(repeats: Bool[np.ndarray, "_N"]) -> tuple[int, int]:
    """First row and length of the longest stretch of equal rows; of every row but the first it is told whether it
    repeats the one before.
    """
    ends = np.concatenate([[-1], np.flatnonzero(~repeats), [len(repeats)]])
    longest = int(np.diff(ends).argmax())
    return int(ends[longest]) + 1, int(ends[longest + 1] - ends[longest])


def _odd_rate(steps: int, rate: tuple[float, float], held: HeldFeatures) -> str:
    """That so many steps fit the video's own rate and not the stated one; nothing where it is not so."""
    assert held.fps is not None and held.stride is not None
    fps, duration_sec = rate
    frames = (steps - 1) * held.stride + (held.window or held.stride)
    fits_own = abs(frames - fps * duration_sec) < _FITS * fps * duration_sec + held.stride
    fits_said = abs(frames - held.fps * duration_sec) < _FITS * held.fps * duration_sec + held.stride
    if fits_said or not fits_own:
        return ""
    return (
        f"{steps} steps of {held.stride:g} frames are {duration_sec:.2f} s at its {fps:.2f} frames a second, not at "
        f"{held.fps:g}"
    )
