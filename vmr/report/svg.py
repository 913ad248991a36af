"""Small charts as SVG text: lines, bars, maps of cells and intervals. Colours and type come from the page's CSS.

Written here instead of by matplotlib: colours follow the page into the dark and into print, marks have titles for
readers of screens, and twenty charts weigh little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from vmr.methods.catalogue import with_rows

WIDTH, HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 40


@dataclass(frozen=True)
class Axis:
    """One direction of a chart."""

    label: str  # what it measures, with the unit
    low: float
    high: float
    ticks: Sequence[float]
    names: Sequence[str] | None = None  # texts of the ticks; by default the numbers


@dataclass(frozen=True)
class Line:
    """A line of a chart."""

    name: str  # for the legend and the titles of its marks
    key: str  # class of the line: sets colour, dashes and mark
    points: Sequence[tuple[float, float | None]]  # x and y; the line is broken where y is None
    # low and high of the interval of each point, None where there is none
    ranges: Sequence[tuple[float, float] | None] = ()
    marked: bool = False  # whether points get marks
    ring: tuple[float, float] | None = None  # x and y of a point to put a ring around


@dataclass
class Plot:
    """A chart under construction: maps values to places and gathers elements."""

    x: Axis
    y: Axis
    title: str
    description: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    parts: list[str] = field(default_factory=list)

    def px(self, value: float) -> float:
        """Place of a value of x."""
        share = (value - self.x.low) / ((self.x.high - self.x.low) or 1.0)
        return round(self.left + share * (self.width - self.left - _RIGHT), 1)

    def py(self, value: float) -> float:
        """Place of a value of y."""
        share = (value - self.y.low) / ((self.y.high - self.y.low) or 1.0)
        return round(self.height - _BOTTOM - share * (self.height - _BOTTOM - _TOP), 1)

    def text(self) -> str:
        """The finished chart."""
        return (
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img"'
            f' aria-label="{escape(self.title)}. {escape(self.description)}">'
            + self._grid()
            + "".join(self.parts)
            + "</svg>"
        )

    def _grid(self) -> str:
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        parts = []
        for value, name in zip(self.y.ticks, self.y.names or list(map(number, self.y.ticks)), strict=True):
            at = self.py(value)
            parts.append(f'<path class="grid" d="M{self.left} {at}H{right}"/>')
            parts.append(f'<text class="tick end" x="{self.left - 6}" y="{at + 3.5:g}">{escape(name)}</text>')
        for value, name in zip(self.x.ticks, self.x.names or list(map(number, self.x.ticks)), strict=True):
            at = self.px(value)
            parts.append(f'<path class="axis" d="M{at} {bottom}v4"/>')
            parts.append(f'<text class="tick mid" x="{at}" y="{bottom + 16}">{escape(name)}</text>')
        parts.append(f'<path class="axis" d="M{self.left} {bottom}H{right}"/>')
        middle = (self.left + right) / 2
        parts.append(f'<text class="label mid" x="{middle:g}" y="{self.height - 5}">{escape(self.x.label)}</text>')
        if self.y.label:
            up = (_TOP + bottom) / 2
            parts.append(
                f'<text class="label mid" transform="translate(11 {up:g})rotate(-90)">{escape(self.y.label)}</text>'
            )
        return "".join(parts)


def number(value: float) -> str:
    """A number as short as it can be.

    >>> number(0.5), number(20.0), number(1234.5)
    ('0.5', '20', '1,234.5')
    """
    return f"{value:,.6g}" if abs(value) < 1000 else f"{value:,.1f}".removesuffix(".0")


def nice_ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round values from `low` to `high`, about `count` of them.

    >>> nice_ticks(0, 100), nice_ticks(1, 15, count=4)
    ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [5.0, 10.0, 15.0])
    """
    span = high - low
    if span <= 0:
        return [low]
    rough = span / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999))
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [round(number * step, 10) for number in range(first, last + 1)]


def line_chart(
    lines: Sequence[Line], *, x: Axis, y: Axis, title: str, description: str, width: int = WIDTH, height: int = HEIGHT
) -> str:
    """Lines over x, with intervals and marks where they are given."""
    plot = Plot(x, y, title, description, width=width, height=height)
    for line in lines:
        path, pen = [], "M"
        for at, value in line.points:
            if value is None:
                pen = "M"
                continue
            path.append(f"{pen}{plot.px(at):g} {plot.py(value):g}")
            pen = "L"
        plot.parts.append(f'<g class="s {line.key}"><title>{escape(line.name)}</title>')
        for (at, _), limits in zip(line.points, line.ranges, strict=False):
            if limits is not None:
                plot.parts.append(
                    f'<path class="whisker" d="M{plot.px(at)} {plot.py(limits[0])}V{plot.py(limits[1])}"/>'
                )
        plot.parts.append(f'<path class="line" d="{"".join(path)}"/>')
        if line.marked:
            plot.parts += [
                f"<g><title>{escape(line.name)}: {value:.1f}</title>{mark(line.key, plot.px(at), plot.py(value))}</g>"
                for at, value in line.points
                if value is not None
            ]
        if line.ring is not None:
            plot.parts.append(
                f'<circle class="ring" cx="{plot.px(line.ring[0])}" cy="{plot.py(line.ring[1])}" r="4.5"/>'
            )
        plot.parts.append("</g>")
    return plot.text()


def bar_chart(
    bars: Sequence[tuple[float, float, float, str]], *, x: Axis, y: Axis, title: str, description: str
) -> str:
    """Bars: left and right edge, value, class."""
    plot = Plot(x, y, title, description)
    for low, high, value, key in bars:
        left, right, top = plot.px(low), plot.px(high), plot.py(min(value, y.high))
        plot.parts.append(
            f'<rect class="bar {key}" x="{left + 0.5:g}" y="{top:g}" width="{max(right - left - 1, 0.5):g}"'
            f' height="{plot.py(y.low) - top:g}"><title>{value:.1f} %</title></rect>'
        )
    return plot.text()


# Name, class, value, low and high; no value: a head above the rows that follow.
IntervalRow = tuple[str, str, float | None, tuple[float, float] | None]


def interval_chart(rows: Sequence[IntervalRow], *, x: Axis, title: str, description: str) -> str:
    """A value a row, with its interval, under heads."""
    pitch = 24
    height = _TOP + _BOTTOM + pitch * len(rows)
    plot = Plot(x, Axis("", -0.5, len(rows) - 0.5, []), title, description, width=300, height=height, left=124)
    for i, (name, key, value, limits) in enumerate(rows):
        at = _TOP + pitch * (i + 0.5)
        if value is None:
            plot.parts.append(f'<text class="row head" x="0" y="{at + 7:g}">{escape(name)}</text>')
            continue
        interval = "" if limits is None else f" [{limits[0]:.1f}, {limits[1]:.1f}]"
        plot.parts.append(f'<text class="row end" x="117" y="{at + 4:g}">{escape(name)}</text>')
        plot.parts.append(f'<path class="grid" d="M124 {at:g}H{300 - _RIGHT}"/>')
        plot.parts.append(f'<g class="s {key}"><title>{escape(name)}: {value:.1f}{interval}</title>')
        if limits is not None:
            plot.parts.append(f'<path class="whisker wide" d="M{plot.px(limits[0])} {at:g}H{plot.px(limits[1])}"/>')
        plot.parts.append(mark(key, plot.px(value), at) + "</g>")
    return plot.text()


def cell_map(
    density: Sequence[Sequence[float]], *, peak: float, key: str, title: str, description: str, x: Axis, y: Axis
) -> str:
    """A map of square cells, the stronger the more: rows of `density` go along x, columns along y."""
    plot = Plot(x, y, title, description, width=300, height=282)
    size = len(density)
    steps = np.linspace(x.low, x.high, size + 1)
    diagonal = f"M{plot.px(x.low)} {plot.py(y.low)}L{plot.px(x.high)} {plot.py(y.high)}"
    for i, row in enumerate(density):
        for j, value in enumerate(row):
            if value > 0:
                left, right = plot.px(steps[i]), plot.px(steps[i + 1])
                top, bottom = plot.py(steps[j + 1]), plot.py(steps[j])
                # The root makes rare places visible beside a crowded one.
                strength = min(1.0, 0.1 + 0.9 * float(np.sqrt(value / (peak or 1.0))))
                plot.parts.append(
                    f'<rect class="cell {key}" x="{left:g}" y="{top:g}" width="{right - left:.1f}"'
                    f' height="{bottom - top:.1f}" fill-opacity="{strength:.2f}"><title>{value:.1f} %</title></rect>'
                )
    plot.parts.append(f'<path class="diagonal" d="{diagonal}"/>')
    return plot.text()


def mark(key: str, x: float, y: float) -> str:
    """The mark of a method: shapes differ, so that nobody needs the colours."""
    method = with_rows().get(key.removeprefix("m-"))
    shape = method.look.mark if method else "circle"
    if shape == "circle":
        return f'<circle class="mark" cx="{x:g}" cy="{y:g}" r="3.4"/>'
    return f'<path class="mark" transform="translate({x:g} {y:g})" d="{_PATHS[shape]}"/>'


_PATHS = {
    "square": "M-3-3H3V3H-3Z",
    "diamond": "M0-4.4 4.4 0 0 4.4-4.4 0Z",
    "up": "M0-4.2 4 3.2H-4Z",
    "down": "M0 4.2 4-3.2H-4Z",
    "cross": "M-3.4-3.4 3.4 3.4M3.4-3.4-3.4 3.4",
    "plus": "M0-4.2V4.2M-4.2 0H4.2",
}
_OPEN = ("cross", "plus")  # marks without a face


def method_styles() -> str:
    """Rules of CSS for the class ``m-NAME`` of each method: colours on light and dark paper, dashes, open marks."""
    looks = {f".m-{name}": method.look for name, method in with_rows().items()}
    light = [f"{key} {{ --c: {look.light}; }}" for key, look in looks.items()]
    dark = [f"{key} {{ --c: {look.dark}; }}" for key, look in looks.items()]
    rest = [f"{key} .line {{ stroke-dasharray: {look.dash}; }}" for key, look in looks.items() if look.dash]
    rest += [
        f"{key} .mark {{ fill: none; stroke: var(--c); stroke-width: 2; }}"
        for key, look in looks.items()
        if look.mark in _OPEN
    ]
    in_the_dark = f"@media screen and (prefers-color-scheme: dark) {{ {' '.join(dark)} }}"
    return "\n".join([*light, in_the_dark, *rest])


def swatch(key: str) -> str:
    """The line and mark of a method for a legend."""
    return (
        f'<svg class="swatch s {key}" viewBox="0 0 34 12" aria-hidden="true"><path class="line" d="M1 6H33"/>'
        f"{mark(key, 17, 6)}</svg>"
    )
