"""What a check found, and the table of all checks."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

EXAMPLES = 3
_WIDTH = 160
# What at most so many of all have is left out or harmless: a note. Beyond it a run would end with worthless scores.
_FEW = 0.1

Level = Literal["ok", "note", "wrong", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str  # what was looked for
    level: Level  # ok; note (a run goes on); wrong (it stops); or skipped (nothing to look at yet)
    count: int = 0  # how many were found
    examples: tuple[str, ...] = ()  # the first of them; for a skipped check, why
    advice: str = ""  # what to do


def found(
    check: str, examples: Sequence[str], advice: str, *, level: Level = "wrong", of: int | None = None, skip: str = ""
) -> Finding:
    """A finding about `examples`, which list all cases; ok when the list is empty, a note where they are at most a
    tenth of `of`, skipped where `skip` says why there is nothing to look at.
    """
    if skip:
        return skipped(check, skip)
    if not examples:
        return Finding(check, "ok")
    if level == "wrong" and of is not None and len(examples) <= _FEW * of:
        level = "note"
    return Finding(check, level, len(examples), tuple(examples[:EXAMPLES]), advice)


def skipped(check: str, reason: str) -> Finding:
    """A check for which there is nothing to look at."""
    return Finding(check, "skipped", 0, (reason,))


def findings_table(findings: Sequence[Finding]) -> str:
    """One line a check: its state, name and count, the first examples and what to do about them.

    >>> print(findings_table([found("same annotation twice", ["test:7"], "Remove one."), Finding("NaN rows", "ok")]))
    state  check                  count  what
    wrong  same annotation twice      1  test:7. Remove one.
    ok     NaN rows                   0
    """
    header = ("state", "check", "count", "what")
    lines = [
        (one.level, one.check, "-" if one.level == "skipped" else f"{one.count:,}", _what(one)) for one in findings
    ]
    widths = [max(len(line[column]) for line in (header, *lines)) for column in range(3)]
    return "\n".join(
        f"{state:<{widths[0]}}  {check:<{widths[1]}}  {count:>{widths[2]}}  {what}".rstrip()
        for state, check, count, what in (header, *lines)
    )


def _what(finding: Finding) -> str:
    shown = "; ".join(textwrap.shorten(example, _WIDTH, placeholder=" ...") for example in finding.examples)
    more = f"; and {finding.count - len(finding.examples):,} more" if finding.count > len(finding.examples) else ""
    said = f"{shown}{more}. {finding.advice}".rstrip(" .")
    if not shown:
        return finding.advice
    return said if said.endswith("?") else f"{said}."
