"""The table for a paper: LaTeX with booktabs, the same rows as the readable one."""

from collections.abc import Sequence

from vmr.tables.notes import plain_number
from vmr.tables.rows import SCORE_COLUMNS, Row, best_scores, is_best

_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "\u2013": "--",
        "≥": r"$\geq$",
        "±": r"$\pm$",
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    }
)


def latex_table(rows: Sequence[Row], *, dataset: str, title: str) -> str:
    """A `table` environment; where a row was printed or how it was computed stands in a comment beside it."""
    shown = [row for row in rows if row.headline]
    best = best_scores(shown)
    splits = len({row.split for row in shown}) > 1
    kinds = len({row.features for row in shown} - {"none"}) > 1
    named = ["Method", *["Features"] * kinds, *["Split"] * splits]
    lines: list[str] = []
    head = ("", "")
    for row in shown:
        split = "" if row.kind == "published" else row.split
        if (split, row.block) != head:
            lines += [r"\midrule"] if lines else []
            head = split, row.block
            block = rf"\emph{{{escaped(row.block.capitalize())}}}"
            lines.append(rf"\multicolumn{{{len(named) + len(SCORE_COLUMNS)}}}{{l}}{{{block}}} \\")
        cells = [_cell(row, metric, best) for metric in SCORE_COLUMNS.values()]
        words = [row.method, *[row.features] * kinds, *[row.split] * splits]
        source = " ".join(row.source.split())
        lines.append(f"{' & '.join([*map(escaped, words), *cells])} \\\\ % {source}")
    header = " & ".join([*named, *SCORE_COLUMNS])
    seeds = any((row.seeds or 0) > 1 for row in shown)
    note = " Mean and standard deviation over seeds." if seeds else ""
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{Moment retrieval on {escaped(title)}.{note}}}",
            rf"\label{{tab:{dataset}}}",
            rf"\begin{{tabular}}{{{'l' * len(named)}{'r' * len(SCORE_COLUMNS)}}}",
            r"\toprule",
            rf"{header} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    r"""A text without what LaTeX would take for a command.

    >>> print(escaped("CI-MHA w/o MS & 5 %_~"))
    CI-MHA w/o MS \& 5 \%\_\textasciitilde{}
    """
    return text.translate(_SPECIAL)


def _cell(row: Row, metric: str, best: dict[tuple[str, str], float]) -> str:
    value, std = row.scores.get(metric), row.std.get(metric)
    text = "--" if value is None else plain_number(value)
    text += "" if std is None else rf" $\pm$ {std:.2f}"
    return rf"\textbf{{{text}}}" if is_best(row, metric, best) else text
