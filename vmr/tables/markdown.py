"""Tables in Markdown."""

from collections.abc import Sequence
from typing import Any


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[Any]], *, numbers_from: int) -> str:
    r"""A Markdown table whose columns are aligned in the source too.

    Args:
        numbers_from: this column and those after it are aligned to the right.

    >>> print(markdown_table(["A", "B"], [["x|y", 1]], numbers_from=1))
    | A    |   B |
    | ---- | --: |
    | x\|y |   1 |
    """
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in (header, *lines)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    sides = ["<" if column < numbers_from else ">" for column in range(len(header))]
    rule = ["-" * width if side == "<" else "-" * (width - 1) + ":" for width, side in zip(widths, sides, strict=True)]
    padded = [[f"{cell:{side}{size}}" for cell, side, size in zip(line, sides, widths, strict=True)] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))
