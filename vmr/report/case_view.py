"""Case studies as the page shows them: lanes over time, one a method."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from vmr.methods.catalogue import place_of, title_of
from vmr.report.answers_view import span_text
from vmr.report.svg import nice_ticks, number

_HEIGHT = 60  # of a lane; its width is 1000 whatever the screen
_CURVE_TOP, _CURVE_BOTTOM = 4.0, 46.0
CURVE_SCALE = 0.2  # flat curves look flat: P_start and P_end are drawn against at least this


def case_views(study: Mapping[str, Any], *, group: str, number_of_group: int) -> list[dict[str, Any]]:
    """The cases of one split and kind of features; `number_of_group` makes ids of elements unique."""
    views = []
    for i, case in enumerate(study["cases"]):
        strip = study["strips"].get(case["video_id"])
        end = _end_sec(case, strip)
        views.append(
            {
                "anchor": f"case-{number_of_group}-{i}",
                "video_id": case["video_id"],
                "sentence": case["sentence"],
                "kinds": case["kinds"],
                "group": group,
                "truth": span_text(case["truth"]),
                "truth_svg": _truth_lane(case["truth"], end),
                "lanes": [
                    _lane(method, case["methods"][method], case["truth"], end)
                    for method in sorted(case["methods"], key=place_of)
                ],
                "ticks": [(100 * tick / end, number(tick)) for tick in nice_ticks(0, end, count=6)],
                "strip": strip,
            }
        )
    return views


def _end_sec(case: Mapping[str, Any], strip: Mapping[str, Any] | None) -> float:
    """Where the time line ends: at the end of the video, or after the last thing that is shown."""
    if case["duration_sec"]:
        return float(case["duration_sec"])
    ends = [case["truth"][1], strip["duration_sec"] if strip else 0.0]
    ends += [span[1] for own in case["methods"].values() for span in own["spans"]]
    return float(max(*ends, 0.1))


def _x(seconds: float, end: float) -> float:
    return round(min(max(1000 * seconds / end, 0.0), 1000.0), 1)


def _truth_lane(truth: Sequence[float], end: float) -> str:
    left, right = _x(truth[0], end), _x(truth[1], end)
    return (
        f'<svg class="lane short" viewBox="0 0 1000 18" preserveAspectRatio="none" role="img" aria-label="Ground truth:'
        f' {span_text(truth)}"><rect class="bar m-truth" x="{left}" y="3" width="{max(right - left, 2):.1f}"'
        f' height="12"/></svg>'
    )


def _lane(method: str, own: Mapping[str, Any], truth: Sequence[float], end: float) -> dict[str, Any]:
    """One method's answer to a query."""
    span = own["spans"][0] if own["spans"] else None
    curves = own["curves"] or {}
    left, right = _x(truth[0], end), _x(truth[1], end)
    parts = [f'<rect class="truth-band" x="{left}" y="0" width="{max(right - left, 2):.1f}" height="{_HEIGHT}"/>']
    # Start and end share a scale of their own: they add up to 1 over all steps, P_in is up to 1 at each.
    pointed = [name for name in curves if name not in ("inside", "start_sec", "end_sec")]
    peak = max((max(curves[name]) for name in pointed), default=0.0)
    if "inside" in curves:
        parts.append(_curve(curves, "inside", end, scale=1.0))
    parts += [_curve(curves, name, end, scale=max(peak, CURVE_SCALE)) for name in pointed]
    if span is not None:
        a, b = _x(span[0], end), _x(span[1], end)
        parts.append(
            f'<rect class="bar m-{method}" x="{a}" y="{_CURVE_BOTTOM + 4}" width="{max(b - a, 2):.1f}" height="9"/>'
        )
    text = span_text(span)
    iou = "" if own["iou"] is None else f", IoU {own['iou']:.2f}"
    svg = (
        f'<svg class="lane s m-{method}" viewBox="0 0 1000 {_HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(title_of(method))}: {text}{iou}{_peaks(curves)}">{"".join(parts)}</svg>'
    )
    shown = f"{peak:.2f}" if pointed else ""
    return {"method": method, "title": title_of(method), "svg": svg, "iou": own["iou"], "span": text, "peak": shown}


def _peaks(curves: Mapping[str, Sequence[float]]) -> str:
    """Where start and end are most probable, for readers who do not see the curve."""
    texts = []
    for name in ("start", "end"):
        if name in curves:
            step = max(range(len(curves[name])), key=curves[name].__getitem__)
            texts.append(f"P_{name} highest ({curves[name][step]:.2f}) at {curves[f'{name}_sec'][step]:.1f} s")
    return "".join(f"; {text}" for text in texts)


def _curve(curves: Mapping[str, Sequence[float]], name: str, end: float, *, scale: float) -> str:
    """A curve through the middles of the steps, drawn out to their outer ends."""
    starts, ends, values = curves["start_sec"], curves["end_sec"], curves[name]
    times = [(a + b) / 2 for a, b in zip(starts, ends, strict=True)]
    times[0], times[-1] = (starts[0], ends[-1]) if len(times) > 1 else (times[0], times[0])
    span = _CURVE_BOTTOM - _CURVE_TOP
    points = [
        f"{_x(at, end):g} {_CURVE_BOTTOM - span * value / scale:.1f}" for at, value in zip(times, values, strict=True)
    ]
    if len(points) == 1:  # a video of one step
        y = points[0].split()[1]
        points = [f"{_x(starts[0], end):g} {y}", f"{_x(ends[0], end):g} {y}"]
    if name == "inside":
        first, last = points[0].split()[0], points[-1].split()[0]
        return f'<path class="inside" d="M{first} {_CURVE_BOTTOM}L{"L".join(points)}L{last} {_CURVE_BOTTOM}Z"/>'
    return f'<path class="p p-{name}" d="M{"L".join(points)}"/>'
