"""Whether spans can be in seconds: frame numbers, milliseconds and hours for minutes show against the durations."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

# Of the moments whose video's duration is known; an edition of the videos that was cut shorter loses a few.
_MOST = 0.5
_FITS = 0.95
# Longer moments than this are no moments of a video, where all times are whole numbers.
_TOO_LONG_SEC = 1000.0
RATES = (10.0, 12.0, 12.5, 15.0, 23.976, 24.0, 25.0, 29.4, 29.97, 30.0, 50.0, 59.94, 60.0)
_OTHER_VIDEOS = "these may not be the videos that were annotated"
_SLACK = 1.02  # of a duration: players round
_ROUNDED_SEC = 0.011  # times and their difference, each rounded to hundredths
_ROUNDED = ((1.0, 0.5), (0.1, 0.05))  # lengths in whole seconds or tenths, and how far they may be off by that
_MOST_LENGTHS = 0.9
# So many moments within the first second of videos that last so long, and none later in others, have times from 0 to
# 1; so many within the first hundred seconds of such videos have times from 0 to 100.
_FEWEST_SHARES, _LONG_SEC = 3, 10.0
_FEWEST_PERCENT, _LONG_PERCENT_SEC = 30, 150.0
_ALL = 0.98  # but for slips
_FEWEST_MS = 200.0  # a second: some moments end a fifth of their video or later
_PERCENT_END = 95.0  # some moments last until the end of their video, or nearly so


def odd_times(moments: pd.DataFrame, durations: Mapping[str, float], *, what: str = "moments") -> str:
    """That most moments of a split begin after their video's end, or all within its first second, with the likely unit;
    nothing where they do not.

    Args:
        moments: rows of the table of moments, of one split.
        what: what the text calls the moments.

    >>> rows = pd.DataFrame({"video_id": ["a"], "query_id": ["q"], "start_sec": [500.0], "end_sec": [1500.0]})
    >>> odd_times(rows, {"a": 3.0})
    'all 1 moments begin after their video ends (such as 500 to 1500 s of 3.00 s); the times look like milliseconds'
    """
    length = moments["video_id"].map(dict(durations)).to_numpy(np.float64)
    known = np.isfinite(length)
    start, end = (moments[f"{name}_sec"].to_numpy(np.float64)[known] for name in ("start", "end"))
    length = length[known]
    beyond = start >= length
    shares_mask, percent_mask = end <= 1.0, end <= 100.0
    for unit, within, inside_mask, long_mask, fewest in (
        ("shares", "second", shares_mask, length >= _LONG_SEC, _FEWEST_SHARES),
        ("percent", "100 s", percent_mask, length >= _LONG_PERCENT_SEC, _FEWEST_PERCENT),
    ):
        if long_mask.sum() < fewest or inside_mask.mean() < _ALL or (unit == "percent" and end.max() < _PERCENT_END):
            continue
        number = "all" if inside_mask.all() else f"{int(inside_mask.sum()):,} of"
        one = int(long_mask.argmax())
        return (
            f"{number} {len(length):,} {what} end within the first {within} of their video (such as {start[one]:g} to "
            f"{end[one]:g} s of {length[one]:.2f} s); the times look like {unit} of the video"
        )
    if not len(beyond) or beyond.mean() <= _MOST:
        return ""
    number = "all" if beyond.all() else f"{int(beyond.sum()):,} of"
    first = int(beyond.argmax())
    shown = f"{start[first]:g} to {end[first]:g} s of {length[first]:.2f} s"
    return (
        f"{number} {len(beyond):,} {what} begin after their video ends (such as {shown}); {_likely(start, end, length)}"
    )


def wrong_unit(moments: pd.DataFrame, durations: Mapping[str, float], *, what: str = "moments") -> str:
    """The same where the times are in another unit; nothing where it may be other videos, cut shorter, say."""
    reason = odd_times(moments, durations, what=what)
    return "" if reason.endswith(_OTHER_VIDEOS) else reason


def too_long(moments: pd.DataFrame) -> str:
    """Why spans are hardly seconds where no duration is known; nothing where they may be."""
    lengths = (moments["end_sec"] - moments["start_sec"]).to_numpy(np.float64)
    times = moments[["start_sec", "end_sec"]].to_numpy(np.float64)
    if len(lengths) and np.median(lengths) >= _TOO_LONG_SEC and (times == np.round(times)).all():
        return (
            f"half of the {len(lengths):,} moments last {np.median(lengths):,.0f} s or longer, and all times are whole "
            "numbers: are they milliseconds or frame numbers? The durations of the videos will tell"
        )
    return ""


def are_lengths(times: Iterable[tuple[float, float, float]]) -> bool:
    """Whether given durations are those of the moments, as ELAN and BORIS write them, and not of the videos.

    Args:
        times: start, end and duration in seconds of each moment.

    >>> are_lengths([(0.5, 1.5, 1.0), (2.0, 5.0, 3.0)]), are_lengths([(0.0, 9.0, 9.0)])
    (True, False)
    >>> are_lengths([(1.3, 5.7, 4), (2.0, 9.6, 8)]), are_lengths([(0.4, 9.4, 9), (1.5, 9.0, 9)])
    (True, False)
    """
    # A moment that begins later than its length is rounded is shorter than its video, so that it tells which it is.
    fits = []
    for start, end, seconds in times:
        off = abs(end - start - seconds)
        rounded = next((most for unit, most in _ROUNDED if abs(seconds / unit - round(seconds / unit)) < 1e-6), 0.0)
        most = _ROUNDED_SEC + (rounded if off > _ROUNDED_SEC else 0.0)
        if off > most or start > most:
            fits.append(off <= most)
    return bool(fits) and sum(fits) >= _MOST_LENGTHS * len(fits)


def _likely(start: np.ndarray, end: np.ndarray, length: np.ndarray) -> str:
    def fit(factor: float) -> bool:
        return float((end <= factor * length * _SLACK).mean()) >= _FITS

    last = float(np.quantile(end / length, 0.98))
    if last < RATES[0] / 2:
        return _OTHER_VIDEOS
    whole = bool((start == np.round(start)).all() and (end == np.round(end)).all())
    if fit(60.0) and bool((start % 60 == 0).all() and (end % 60 == 0).all()):
        return "the times look like m:ss that a spreadsheet made h:mm of"
    if (end <= 100 * _SLACK).all() and end.max() >= _PERCENT_END and length.max() > 1.5 * length.min():
        return "the times look like percent of the video"
    rates = [rate for rate in RATES if fit(rate)]
    if whole and rates:
        # The last frame of a video is often an end: the rate at which the ends come nearest to the durations.
        nearest = min(rates, key=lambda rate: abs(last - rate))
        return f"the times look like frame numbers, at about {nearest:g} frames a second"
    # Times of a longer video, of which these are parts, are far smaller.
    if fit(1000.0) and last > _FEWEST_MS:
        return "the times look like milliseconds"
    return _OTHER_VIDEOS
