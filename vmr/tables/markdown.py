"""Tables in Markdown."""

from collections.abc import Callable, Sequence
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
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(header))]
    pad: list[Callable[[str, int], str]] = [
        str.ljust if column < numbers_from else str.rjust for column in range(len(header))
    ]
    text = ["| " + " | ".join(pad[i](cell, widths[i]) for i, cell in enumerate(line)) + " |" for line in cells]
    rule = ["-" * width if column < numbers_from else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([text[0], "| " + " | ".join(rule) + " |", *text[1:]])
