"""What should be known before the rows of a table are compared."""

from collections import Counter
from collections.abc import Iterator, Sequence

from vmr.evaluation.metrics import recall_name
from vmr.tables.rows import SCORE_COLUMNS, Row

_GAP = recall_name(1, 0.5)  # by which the best of two kinds of supervision are chosen
SIMULATED_NOTE = (
    "**Simulated features**: no video was seen. What sentences say was planted, weakly, in numbers as long as "
    "features of real videos. The rows compare methods with each other; they say nothing about real videos and "
    "do not belong beside published figures."
)


def no_result_note(rows: Sequence[Row]) -> str:
    """That a table holds no result, or less than it seems, since networks could not learn; else nothing."""
    trained = [row for row in rows if row.is_of_networks]
    wanting = [row for row in trained if not row.is_result]
    if not wanting:
        return ""
    reasons = dict.fromkeys(
        row.source.partition("untrained: ")[2]
        if row.is_untrained
        else f"trained on {row.trained_on} sentences, too few to learn from"
        for row in wanting
    )
    head = "No result" if len(wanting) == len(trained) else "Not all are results"
    what = f"{len(wanting)} of {len(trained)} rows of networks" if len(wanting) < len(trained) else "the networks"
    text = f"**{head}**: {what} learned nothing ({'; '.join(reasons)})."
    if any(row.is_untrained for row in wanting):
        text += " Untrained ones have no scores."
    return f"{text} `vmr doctor` says what is missing."


def table_notes(rows: Sequence[Row]) -> str:
    """The section of notes, or nothing when there is nothing to say."""
    published = [row for row in rows if row.kind == "published"]
    baselines = [row for row in rows if row.kind == "baseline"]
    notes = [
        note
        for split in dict.fromkeys(row.split for row in baselines)
        for note in _beaten([row for row in baselines if row.split == split], published)
    ]
    unfair = [row for row in rows if row.kind == "trained" and not row.is_untrained]
    if any("selection: test" in row.source for row in unfair):
        notes.append(
            "“selection: test”: the epoch was chosen on the test split, as some papers did; the score is too good."
        )
    if any(row.entry and row.entry.exchanged for row in unfair):
        notes.append(
            "Blind rows are networks trained and tested with the query (or the features) of another sample: what the "
            "other input gives away to a network that is trained alike. The step from them to the method of the same "
            "name is what the hidden input adds to it."
        )
        notes += _windows_ahead(rows)
    notes += [*_oracles(unfair), *_weak(unfair, baselines)]
    single = dict.fromkeys(row.method.removesuffix(" (ours)") for row in unfair if row.entry and row.entry.one_span)
    notes += [f"{name} answers with one span a query, so that its R@5 is its R@1." for name in single]
    notes += [
        f"{seen:,} of the {videos:,} test videos of {split} were trained on too: the scores there are too good."
        for split, seen, videos in _counted(unfair, "trained_on_videos", "videos")
    ]
    notes += [
        f"{past:,} of the {queries:,} moments of {split} begin after their videos end: no answer finds them. "
        "Are the times seconds?"
        for split, past, queries in _counted([row for row in rows if row.kind == "trained"], "past_end", "queries")
    ]
    notes += [
        f"{row.method} ({row.features}, {row.split}) knows 400 actions and nothing of this data. Here it answers every "
        "query, also those that it would refuse as near no action."
        for row in unfair
        if row.block == "zero-shot"
    ]
    if any(row.seeds == 1 for row in unfair):
        notes.append("A row with one seed has no spread: it may be a lucky one or an unlucky one.")
    random = [row for row in published if row.method == "Random"]
    if random:
        ours = [row for row in rows if row.kind == "baseline" and not row.criteria and row.split == random[0].split]
        text = f"The random row of {random[0].source} does not say how its spans are drawn"
        if ours:
            theirs, own = (
                [plain_number(row.scores[recall_name(1, threshold)]) for threshold in (0.5, 0.7)]
                for row in (random[0], ours[0])
            )
            text += (
                f" ({theirs[0]} at 0.5, {theirs[1]} at 0.7). Ours is the expected score of two uniform points of the "
                f"video, in order ({own[0]} and {own[1]})"
            )
        notes.append(text + ".")
    if any("*" in row.source for row in published):
        notes.append("Rows marked * are taken from a secondary list, not from the paper of the method.")
    counts = Counter(row.method for row in published)
    twice = [method for method, count in counts.items() if count > 1]
    if twice:
        notes.append(
            f"{_and(twice)} stand in the table more than once: sources, features or splits differ, and "
            "all are kept as printed."
        )
    if any(row.split == "not named" for row in published):
        notes.append(
            "“not named”: the source does not say on which split it was scored, so that the row compares with none "
            "exactly."
        )
    notes += [f"{row.method} ({row.source}): {row.note}." for row in published if row.note and row not in random]
    return "## Notes\n\n" + "\n".join(f"- {note}" for note in notes) if notes else ""


def _counted(rows: Sequence[Row], part: str, whole: str) -> Iterator[tuple[str, int, int]]:
    """Each split in whose records `part` is not 0: the split, the largest `part`, and its `whole`."""
    for split in dict.fromkeys(row.split for row in rows):
        records = [row.members[0] for row in rows if row.split == split]
        if largest := max(record.get(part, 0) for record in records):
            yield split, largest, records[0][whole]


def _oracles(trained: Sequence[Row]) -> list[str]:
    """What the column of oracles is, and which rows can exceed theirs."""
    offering = [row for row in trained if "oracle" in row.sets]
    if not offering:
        return []
    text = (
        "Oracle: R@1 at 0.7, 0.5 and 0.3 of a method that always answered with the best of its candidates, on the same "
        "queries; a row cannot exceed it."
    )
    moving = dict.fromkeys(row.method.removesuffix(" (ours)") for row in offering if row.entry and row.entry.offsets)
    if moving:
        move = "moves its" if len(moving) == 1 else "move their"
        text += f" In brackets: {_and(list(moving))} {move} candidates, and can."
    return [text]


def _weak(trained: Sequence[Row], baselines: Sequence[Row]) -> list[str]:
    """By which epochs methods that see no span are scored, and how far they are below those that do."""
    weak = [row for row in trained if row.entry and row.block == "weakly supervised"]
    notes = [
        f"{row.method} ({row.features}, {row.split}) learns from pairs of video and sentence; its epochs are those of "
        f"the lowest loss on validation videos.{_by_spans(row)}"
        for row in weak
    ]
    for split, features in dict.fromkeys((row.split, row.features) for row in weak):
        own = [row for row in trained if (row.split, row.features) == (split, features) and row.entry]
        best = {
            kind: max(rows, key=lambda row: row.scores[_GAP] or 0.0)
            for kind, rows in (
                ("weak", [row for row in own if row.block == "weakly supervised"]),
                ("seeing", [row for row in own if row.block not in ("weakly supervised", "zero-shot", "baselines")]),
            )
            if rows
        }
        if len(best) < 2:
            continue
        gaps = [
            f"{(best['seeing'].scores[metric] or 0.0) - (best['weak'].scores[metric] or 0.0):.2f} at {name}"
            for name, metric in SCORE_COLUMNS.items()
        ]
        text = (
            f"On {split} ({features}) the best row without spans, {best['weak'].method}, is below the best of those "
            f"that learn from them, {best['seeing'].method} (both by R1@0.5), by {_and(gaps)}"
        )
        window = _best_window(baselines, _GAP, split=split)
        if window is not None:
            text += f"; at R1@0.5 it has {plain_number(best['weak'].scores[_GAP])}, the constant window {window:.2f}"
        notes.append(f"{text}.")
    return notes


def _by_spans(row: Row) -> str:
    """What the epoch of highest validation mIoU would have been, seed by seed; nothing where no record says."""
    found = []
    for member in row.members:
        run = member.get("run") or {}
        other, own = run.get("by_spans"), run.get("chosen_scores") or {}
        if other:
            there = f", {own['mIoU']:.2f} at epoch {run['chosen_epoch']}" if "mIoU" in own else ""
            found.append(f"epoch {other['epoch']} (seed {member['seed']}: mIoU {other['mIoU']:.2f}{there})")
    return f" By their mIoU, which needs spans, it would have been {_and(found)}." if found else ""


def _beaten(baselines: Sequence[Row], published: Sequence[Row]) -> list[str]:
    """Which published methods the constant windows of a split beat, each at the measure it was chosen by."""
    parts = []
    for name, metric in SCORE_COLUMNS.items():
        for window in baselines:
            own = window.scores[metric]
            if metric not in window.criteria or own is None:
                continue
            names = [
                f"{row.method} ({score:.2f})"
                for row in published
                if row.method != "Random" and row.split in (window.split, "not named")
                if (score := row.scores[metric]) is not None and score < own
            ]
            if names:
                beaten = _and(list(dict.fromkeys(names)))
                parts.append(f"at {name} the window {window.window} gives {own:.2f}, more than {beaten}")
    if not parts:
        return []
    return [
        f"Answers that see neither video nor query beat published methods on {baselines[0].split}: {'; '.join(parts)}."
    ]


def _windows_ahead(rows: Sequence[Row]) -> list[str]:
    """Where the window that was chosen by a measure beats the network that sees no video, a note for each such row."""
    notes = []
    for blind in rows:
        if blind.entry is None or blind.entry.exchanged != "video":
            continue
        parts = [
            f"{name} ({plain_number(best)} to {plain_number(own)})"
            for name, metric in SCORE_COLUMNS.items()
            if (own := blind.scores[metric]) is not None
            and (best := _best_window(rows, metric, split=blind.split)) is not None
            and best > own
        ]
        if parts:
            notes.append(
                f"On {blind.split} a constant window, which sees nothing, is ahead of {blind.method} "
                f"({blind.features}) at {_and(parts)}: a network is trained to come near, not to reach a threshold. "
                "What the video adds there is the step from the window, the smaller one."
            )
    return notes


def _best_window(rows: Sequence[Row], metric: str, *, split: str) -> float | None:
    """The score of the constant window that was chosen by this measure; None where there is none."""
    own = (row.scores[metric] for row in rows if row.split == split and metric in row.criteria)
    return next(own, None)


def plain_number(value: float | None) -> str:
    """Two decimals, or nothing for an unknown number."""
    return "" if value is None else f"{value:.2f}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
