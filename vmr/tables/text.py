"""The readable table: the same rows as the CSV, and below them what the CSV has no place for."""

from collections.abc import Sequence

from vmr.errors import EvaluationError
from vmr.evaluation.bootstrap import covered_scores, intervals, same_videos
from vmr.tables.effects import effects_section
from vmr.tables.markdown import markdown_table
from vmr.tables.notes import SIMULATED_NOTE, no_result_note, plain_number, table_notes
from vmr.tables.rows import COLUMN_OF, R5_COLUMNS, SCORE_COLUMNS, Row, best_scores, is_best

_NAMES = list(SCORE_COLUMNS)
_METRICS = list(SCORE_COLUMNS.values())
_R5 = list(R5_COLUMNS.values())
_R5_NAMES = list(R5_COLUMNS)


def table_text(rows: Sequence[Row], *, dataset: str) -> str:
    """Markdown of the table and the sections below it, with a line break at the end."""
    computed = [row for row in rows if row.kind != "published"]
    sections = [
        f"# Moment retrieval on {dataset}",
        _introduction(rows),
        main_table([row for row in rows if row.headline]),
        effects_section(rows),
        _intervals(computed),
        _coverage(computed),
        _clamped(rows),
        _covered(computed),
        _windows(computed),
        _epochs(computed),
        table_notes(rows),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _introduction(rows: Sequence[Row]) -> str:
    several = any(row.kind == "trained" and (row.seeds or 0) > 1 for row in rows)
    text = (
        "R1@m is the percentage of queries whose first span has a temporal IoU of at least m with the ground truth; "
        "mIoU is the mean IoU of the first spans. Computed scores are over all queries, against the ground truth as "
        "annotated; a query without an answer is wrong."
    )
    if any(row.simulated for row in rows):
        text = f"{SIMULATED_NOTE}\n\n{text}"
    if several:
        text += " After ± stands the sample standard deviation over seeds."
    if best_scores(rows):
        text += " Bold: the best that was computed here on the split."
    if wanting := no_result_note(rows):
        text = f"{wanting}\n\n{text}"
    if any(row.kind == "published" for row in rows):
        text += " Rows with another source than “computed here” are copied from papers, not run again."
    return text


def main_table(rows: Sequence[Row]) -> str:
    """The rows alone, as a table in Markdown."""
    best = best_scores(rows)
    lines, head = [], ("", "")
    oracles = any("oracle" in row.sets for row in rows)
    for row in rows:
        split = "" if row.kind == "published" else row.split
        if (split, row.block) != head:
            head = split, row.block
            lines.append([f"*{row.block.capitalize()}*", "", "", split, *[""] * (len(_NAMES) + oracles + 3)])
        cells = []
        for metric in _METRICS:
            std = row.std.get(metric)
            text = plain_number(row.scores.get(metric)) + ("" if std is None else f" ± {std:.2f}")
            cells.append(f"**{text}**" if is_best(row, metric, best) else text)
        counts = ["" if row.seeds is None else str(row.seeds), "" if row.queries is None else f"{row.queries:,}"]
        if oracles:
            cells.append(oracle_text(row))
        coverage = "" if row.coverage is None else f"{row.coverage:.2f}"
        lines.append([row.method, row.features, row.source, row.split, *cells, *counts, coverage])
    header = ["Method", "Features", "Source", "Split", *_NAMES, *["Oracle"] * oracles, "Seeds", "Queries", "Coverage"]
    return markdown_table(header, lines, numbers_from=4)


def oracle_text(row: Row) -> str:
    """R@1 at 0.7, 0.5 and 0.3 of the best candidates of a row; nothing where its spans are free."""
    own = row.sets.get("oracle", {})
    found = [own.get(metric) for metric in _METRICS if metric != "mIoU"]
    text = " / ".join(f"{value:.1f}" for value in found if value is not None)
    return f"({text})" if text and row.entry and row.entry.offsets else text


def _coverage(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if row.kind == "trained":
            first = row.members[0]
            lines.append(
                f"- {row.split}, {row.features}: {first['covered_videos']:,} of {first['videos']:,} test videos "
                f"({first['covered']:,} of {first['queries']:,} queries) have features."
            )
    text = "\n".join(dict.fromkeys(lines))
    if any(row.coverage is not None and row.coverage < 100 for row in rows):
        text += (
            "\n\nQueries of the other videos count as wrong in the table above: its rows say what this checkout can "
            "retrieve, not how good the method is. Compare with published figures only at a coverage near 100."
        )
    missing = {row.split: row.members[0].get("unknown_duration", 0) for row in rows if row.kind == "baseline"}
    for split, count in missing.items():
        if count:
            text += f"\n\n{split}: {count:,} queries of videos of unknown duration are wrong in the baselines' rows."
    return f"## Coverage\n\n{text.strip()}" if text else ""


def _clamped(rows: Sequence[Row]) -> str:
    printed = [
        row for row in rows if row.kind == "published" and any(row.scores.get(metric) is not None for metric in _R5)
    ]
    shown = [row for row in rows if row.headline and row.kind != "published"]
    lines = [
        [
            f"{row.method}, published" if row.kind == "published" else row.method,
            row.features,
            row.split,
            *_set(row, "raw", _R5),
            *_set(row, "clamped", [*_METRICS, *_R5]),
        ]
        for row in ([*printed, *shown] if shown else [])
    ]
    header = ["Method", "Features", "Split", *_R5_NAMES, *(f"{name} clamped" for name in [*_NAMES, *_R5_NAMES])]
    text = (
        "Some annotations end after their video does. Clamped: the ground truth is cut to the video first. R5@m: one "
        "of the first five spans reaches m; a constant window is a single span."
    )
    return _section("R@5, and clamped ground truth", text, header, lines)


def _covered(rows: Sequence[Row]) -> str:
    trained = [row for row in rows if row.coverage is not None and 0 < row.coverage < 100]
    lines: list[list[str]] = []
    for split, features in dict.fromkeys((row.split, row.features) for row in trained):
        own = [row for row in trained if (row.split, row.features) == (split, features)]
        blind = [row for row in rows if row.kind == "baseline" and row.headline and row.split == split]
        lines += [line for row in blind if (line := _blind_line(row, like=own[0]))]
        lines += [
            [
                *(row.method, row.features, row.split, f"{row.members[0]['covered']:,}"),
                *_set(row, "raw_covered", _METRICS),
                *_set(row, "clamped_covered", _METRICS),
            ]
            for row in own
        ]
    header = ["Method", "Features", "Split", "Queries", *_NAMES, *(f"{name} clamped" for name in _NAMES)]
    text = "An easier or harder part of the split: not comparable with published figures."
    return _section("Only the queries whose video has features", text, header, lines)


def _blind_line(row: Row, *, like: Row) -> list[str]:
    """Scores of a baseline on the videos that the row `like` covers; nothing where they are not known."""
    if row.videos is None or like.videos is None:
        return []
    if not same_videos(row.videos, like.videos):
        raise EvaluationError(
            f"split {row.split}: {row.method} and {like.method} were scored on other videos or queries. One of them is "
            "stale: evaluate both again from the same annotations."
        )
    scores = covered_scores(row.videos, like.videos.covered_mask)
    cells = [plain_number(scores[truth][metric]) for truth in ("raw", "clamped") for metric in _METRICS]
    return [row.method, row.features, row.split, f"{like.members[0]['covered']:,}", *cells]


def _windows(rows: Sequence[Row]) -> str:
    windows = [row for row in rows if row.kind == "baseline" and row.criteria]
    if not windows:
        return ""
    lines = [
        [row.window, row.split, ", ".join(COLUMN_OF[name] for name in row.criteria), *_set(row, "raw", _METRICS)]
        for row in windows
    ]
    train = " and ".join(
        dict.fromkeys(
            f"the {row.members[0]['training_queries']:,} moments of {row.members[0]['train_split']}" for row in windows
        )
    )
    text = (
        "The same share of every video, whatever the query: what the distribution of the moments gives away. Each was "
        f"chosen on {train} by one measure, among the windows on a grid of {windows[0].members[0]['grid_step']:g} of "
        "the duration."
    )
    return _section("Constant windows", text, ["Window", "Split", "Chosen by", *_NAMES], lines)


def _epochs(rows: Sequence[Row]) -> str:
    lines: dict[str, None] = {}
    for row in rows:
        if row.kind != "trained" or row.is_untrained:
            continue
        known = [(member["seed"], member.get("run") or {}) for member in row.members]
        epochs = [f"{run['chosen_epoch']} (seed {seed})" for seed, run in known if run.get("chosen_epoch") is not None]
        if not epochs:
            continue
        reasons: dict[str, list[str]] = {}
        for seed, run in known:
            if run.get("reason"):
                reasons.setdefault(str(run["reason"]).rstrip("."), []).append(str(seed))
        if len(reasons) == 1:
            reason = f" Why: {next(iter(reasons))}."
        else:
            reason = "".join(f"\n  - seed {', '.join(seeds)}: {text}." for text, seeds in reasons.items())
        trained_on = f", trained on {row.train_split}" if "trained on" in row.source else ""
        lines[f"- {row.method}, {row.features}{trained_on}: epoch {', '.join(epochs)}.{reason}"] = None
    return "## Chosen epochs\n\n" + "\n".join(lines) if lines else ""


def _intervals(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        found = intervals(row.videos.sums["raw"], queries=row.videos.queries) if row.videos and row.headline else None
        if found:
            cells = [
                f"{plain_number(row.scores[metric])} [{found[metric][0]:.2f}, {found[metric][1]:.2f}]"
                for metric in _METRICS
            ]
            lines.append([row.method, row.features, row.split, *cells])
    text = (
        "In brackets the 95 % bootstrap interval with whole videos drawn again, of the mean over seeds: how far a "
        "score would move with other test videos. The spread over seeds stands in the table above."
    )
    return _section("Confidence over test videos", text, ["Method", "Features", "Split", *_NAMES], lines)


def _section(title: str, text: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table under its title and a text; nothing where it has no lines."""
    return f"## {title}\n\n{text}\n\n{markdown_table(header, lines, numbers_from=3)}" if lines else ""


def _set(row: Row, name: str, metrics: Sequence[str]) -> list[str]:
    return [plain_number(row.sets.get(name, {}).get(metric)) for metric in metrics]
