"""The ablation: what a part of the network adds, as paired differences between methods."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from vmr.evaluation.bootstrap import intervals, mean_sums, same_videos
from vmr.methods.catalogue import METHODS, title_of
from vmr.tables.markdown import markdown_table
from vmr.tables.rows import SCORE_COLUMNS, Row

_IN_PLACE = ("cross interaction in place of the segmentation task", "ci_mha_wo_ms", "mha")
_SAME = ("dataset", "split", "features", "simulated", "alignment", "selection", "trained")


def effects() -> list[tuple[str, str, str]]:
    """What is added, the method with it, the method without: of every variant, blind ones last."""
    variants = sorted(
        (method for method in reversed(METHODS.values()) if method.lacks), key=lambda method: method.exchanged or ""
    )
    found = [(method.lacks, method.variant_of, method.name) for method in variants]
    after = 1 + max((i for i, (_, _, without) in enumerate(found) if without == _IN_PLACE[2]), default=-1)
    return [*found[:after], _IN_PLACE, *found[after:]]


def effects_section(rows: Sequence[Row]) -> str:
    """The section of effects, or nothing where no two methods of `effects` are in the table.

    Args:
        rows: published and trained rows; of the former, those of one paper with both methods give its effect.
    """
    lines, seeds_differ = [], False
    trained = [row for row in rows if row.is_result]
    for added, with_it, without in effects():
        title = f"Effect of the {added} ({title_of(with_it)} minus {title_of(without)})"
        pairs = [
            (one, other)
            for one in trained
            for other in trained
            if _name(one) == with_it and _name(other) == without and _settings(one) == _settings(other)
        ]
        for one, other in pairs:
            seeds = sorted(set(_by_seed(one)) & set(_by_seed(other)), key=lambda seed: str(seed).zfill(20))
            if seeds:
                lines.append([title, one.split, one.features, str(len(seeds)), *_cells(one, other, seeds)])
                seeds_differ |= len(_by_seed(one)) != len(seeds) or len(_by_seed(other)) != len(seeds)
        if pairs:
            lines += [
                [title, split, f"as printed by {source}", "", *cells]
                for split, source, cells in _printed(rows, with_it, without)
            ]
    if not lines:
        return ""
    text = (
        "## Effects\n\nMean difference over seeds, paired by seed. After ± stands its standard error over seeds; in "
        "brackets its 95 % bootstrap interval with whole test videos drawn again, the same for both methods, seeds "
        "as they are. Believe an effect whose interval leaves 0 out and that is three standard errors away from 0 (2.8 "
        "for 95 % with five seeds; a pair of seeds says next to nothing).\n\n"
        + markdown_table(["Effect", "Split", "Features", "Seeds", *SCORE_COLUMNS], lines, numbers_from=3)
    )
    if seeds_differ:
        text += "\n\nOnly the seeds that both methods have are compared."
    if any("in place of" in line[0] for line in lines):
        text += (
            "\n\nMHA keeps the segmentation task, since the paper names only its fusion as different: CI-MHA minus "
            "MHA is the cross interaction alone, CI-MHA w/o MS minus MHA gains the one and loses the other."
        )
    return text


def _name(row: Row) -> str:
    return str(row.members[0]["method"])


def _settings(row: Row) -> list[Any]:
    return [row.members[0].get(name) for name in _SAME]


def _by_seed(row: Row) -> dict[Any, dict[str, Any]]:
    return {member["seed"]: member for member in row.members}


def _cells(one: Row, other: Row, seeds: Sequence[Any]) -> list[str]:
    """The difference at each measure: mean, standard error over seeds, interval over videos."""
    first, second = ([_by_seed(row)[seed] for seed in seeds] for row in (one, other))
    interval = _paired_interval(first, second)
    cells = []
    for metric in SCORE_COLUMNS.values():
        differences = [
            a["scores"]["raw"][metric] - b["scores"]["raw"][metric] for a, b in zip(first, second, strict=True)
        ]
        text = f"{statistics.fmean(differences):+.2f}"
        if len(seeds) > 1:
            text += f" ± {statistics.stdev(differences) / math.sqrt(len(seeds)):.2f}"
        if interval:
            text += " [{:+.2f}, {:+.2f}]".format(*interval[metric])
        cells.append(text)
    return cells


def _paired_interval(
    first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]
) -> dict[str, list[float]] | None:
    sums = [
        [videos for member in members if (videos := member.get("video_sums")) is not None]
        for members in (first, second)
    ]
    if len(sums[0]) < len(first) or len(sums[1]) < len(second):
        return None
    one, other = (mean_sums(members) for members in sums)
    if not same_videos(one, other):
        return None
    # The difference of two means over the same videos is the mean of the difference: one draw serves both.
    return intervals(one.sums["raw"] - other.sums["raw"], queries=one.queries)


def _printed(rows: Sequence[Row], with_it: str, without: str) -> list[tuple[str, str, list[str]]]:
    """The same differences among the published rows of one source and split."""
    titles = title_of(with_it), title_of(without)
    found = {
        (row.split, row.source, row.method): row for row in rows if row.kind == "published" and row.method in titles
    }
    result = []
    for (split, source, method), one in found.items():
        other = found.get((split, source, titles[1]))
        if method == titles[0] and other is not None:
            pairs = [(one.scores[metric], other.scores[metric]) for metric in SCORE_COLUMNS.values()]
            cells = ["" if a is None or b is None else f"{a - b:+.2f}" for a, b in pairs]
            result.append((split, source, cells))
    return result
