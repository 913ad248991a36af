"""CSV of own data, one sentence a row: ``video,start,end,sentence``, with or without a column that divides it."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from vmr.annotations.csv_table import Row, Table
from vmr.annotations.moments import validation_videos
from vmr.annotations.parsed import ParsedFile, Problem, Query, clean_sentence, faults_told, video_id_reason
from vmr.annotations.units import are_lengths
from vmr.errors import AnnotationError
from vmr.video_ids import stem_of

logger = logging.getLogger(__name__)

# Share of the videos that a CSV for two splits, without a column that says which, leaves to the test split.
TEST_SHARE = 0.2
_TESTED = ("test", "val", "dev", "eval")  # so begin names of splits that are not trained on


def parse_table(table: Table, *, splits: Sequence[str], train_split: str = "train") -> dict[str, ParsedFile]:
    """The sentences of a table, divided where it serves several splits.

    With a column `split`, a split gets the rows that name it. Without, a single split gets all rows; of two, the one
    that is not trained on gets a fifth of the videos, those with the smallest hashes of their ids. Queries are keyed
    by `query_id` where there is that column, else by line number from 1 (the header's).

    Raises:
        AnnotationError: the table lacks a split, or has nothing usable.
    """
    table = _without_lengths(table)
    parts = _divide(table, list(dict.fromkeys(splits)), train_split)
    parsed = {split: _parse(table, rows) for split, rows in parts.items()}
    for split, part in parsed.items():
        part.refuse_nothing(table.path, f"one usable row for the split {split}")
    return parsed


def splits_of(table: Table) -> list[str]:
    """What the column `split` of a table holds, in order of appearance; nothing where there is no such column.

    Small and large letters are the same, as for the parser; the spelling that comes first counts.
    """
    spellings: dict[str, str] = {}
    for row in table.rows:
        if split := row.values.get("split"):
            spellings.setdefault(split.casefold(), split)
    return list(spellings.values())


def _divide(table: Table, splits: list[str], train_split: str) -> dict[str, list[Row]]:
    if "split" in table.columns:
        return _by_column(table, splits)
    _refuse_other_name(table)
    if len(splits) == 1:
        return {splits[0]: table.rows}
    if len(splits) != 2 or train_split not in splits:
        raise AnnotationError(
            f"{table.path}: is named for the splits {', '.join(splits)}. Only {train_split} and one other are divided "
            "by themselves; add a column `split` that says which row belongs to which."
        )
    test_split = next(split for split in splits if split != train_split)
    videos = {stem_of(row.video_id) for row in table.rows if row.values and not video_id_reason(row.video_id)}
    if not videos:
        why = faults_told(_parse(table, table.rows).malformed) or "; no row names a video"
        raise AnnotationError(f"{table.path}: none of its {len(table.rows)} rows can be used{why}.")
    if len(videos) < 2:
        raise AnnotationError(
            f"{table.path}: {len(videos)} video cannot be divided into {' and '.join(splits)}. Add rows about others."
        )
    tested = validation_videos(videos, fraction=TEST_SHARE)
    logger.info(
        "%s: no column `split`: %d of %d videos, chosen by hash, are %s",
        table.path,
        len(tested),
        len(videos),
        test_split,
    )
    parts: dict[str, list[Row]] = {split: [] for split in splits}
    for row in table.rows:
        parts[test_split if stem_of(row.video_id) in tested else train_split].append(row)
    return parts


def _refuse_other_name(table: Table) -> None:
    """Refuse a column of another name that says what is trained on, instead of dividing the videos otherwise."""
    for name, values in table.unused.items():
        folded = {value.casefold() for value in values}
        if len(values) > 1 and folded & {"train", "training"} and any(v.startswith(_TESTED) for v in folded):
            raise AnnotationError(
                f"{table.path}: the column {name} holds {', '.join(sorted(values))}. Call it `split`, and what is "
                "trained on `train`; or remove it to have a fifth of the videos tested."
            )


def _by_column(table: Table, splits: list[str]) -> dict[str, list[Row]]:
    names = {split.casefold(): split for split in splits}
    parts: dict[str, list[Row]] = {split: [] for split in splits}
    others: Counter[str] = Counter()
    for row in table.rows:
        value = row.values.get("split", "")
        split = names.get(value.casefold()) if value else splits[0]  # reported there, as malformed
        if split is None:
            others[value] += 1
        else:
            parts[split].append(row)
    there = ", ".join(dict.fromkeys(row.values["split"] for row in table.rows if row.values.get("split")))
    for split, rows in parts.items():
        if not rows:
            raise AnnotationError(
                f"{table.path}: no row has {split!r} in the column split; there are: {there or 'none'}. Correct the "
                "column, or the splits under `annotations`."
            )
    for value, count in others.items():
        logger.warning(
            "%s: %d rows of the split %r are left out; `annotations` does not name it", table.path, count, value
        )
    return parts


def _without_lengths(table: Table) -> Table:
    """The table without its column `duration` where that is the one of the moments, and not of the videos."""
    times = []
    for row in table.rows:
        try:
            times.append((table.time(row, "start"), table.time(row, "end"), table.time(row, "duration")))
        except (ValueError, LookupError):
            continue
    if not are_lengths(times):
        return table
    logger.info("%s: the column duration is that of the moments, and not used", table.path)
    return replace(table, columns={name: found for name, found in table.columns.items() if name != "duration"})


def _parse(table: Table, rows: list[Row]) -> ParsedFile:
    parsed, keys = ParsedFile(), set[str]()
    for row in rows:
        parsed.lines += 1
        where = f"{table.path}:{row.line}"
        found = _query(table, row, where)
        if isinstance(found, Query) and found.key in keys:
            found = (
                f"the query_id {found.key!r} was there before; the first one counts. Give each row an id of its own, "
                "or rename the column"
            )
        if isinstance(found, str):
            parsed.malformed.append(Problem(where, found))
            continue
        keys.add(found.key)
        parsed.add(found)
        if "duration" in table.columns and (text := row.values["duration"]):
            try:
                parsed.take_duration(row.video_id, table.time(row, "duration"), where=where, written=text)
            except ValueError as error:
                parsed.malformed.append(Problem(where, f"the duration {error}; taken as unknown"))
    return parsed


def _query(table: Table, row: Row, where: str) -> Query | str:
    if row.fault:
        return row.fault
    faults = [f"the {name} is empty" for name in ("video", "split") if name in table.columns and not row.values[name]]
    times = []
    for name in ("start", "end"):
        try:
            times.append(table.time(row, name))
        except ValueError as error:
            faults.append(f"the {name} {error}")
    if faults:
        return "; ".join(faults)
    own = row.values.get("query_id", "")
    sentence = clean_sentence(row.values["sentence"])
    return Query(own or str(row.line), where, row.video_id, times[0], times[1], sentence, is_named=bool(own))
