"""Which query a line of predictions answers: by its id, or by its video and its place or its sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vmr.annotations.parsed import clean_sentence


class BadRecordError(Exception):
    """A line of predictions cannot be used.

    Attributes:
        reason: why, as words for a message, without a full stop.
        kind: ``malformed``, ``duplicate`` or ``unknown`` (the annotations have no such query, or more than one).
    """

    def __init__(self, reason: str, kind: str = "malformed") -> None:
        super().__init__(reason)
        self.reason, self.kind = reason, kind


@dataclass(frozen=True)
class KnownQuery:
    """A query that a line may answer.

    Attributes:
        query_id: unique among all queries.
        key: its id within its annotation file, such as the line number.
        video_id: its video.
        split: its split.
        index: its place among the sentences of its video in its annotation file, from 0.
        sentence: its text.
        is_scored: False for moments that end where they start or before: nobody can find them.
    """

    query_id: str
    key: str
    video_id: str
    split: str
    index: int
    sentence: str
    is_scored: bool = True


class QueryFinder:
    """Finds the one query that a line of predictions means, or says why there is none."""

    def __init__(self, queries: Iterable[KnownQuery]) -> None:
        self.queries = list(queries)
        self._by_id: dict[str, list[KnownQuery]] = {}
        self._by_index: dict[tuple[str, int], list[KnownQuery]] = {}
        self._by_sentence: dict[tuple[str, str], list[KnownQuery]] = {}
        self._by_loose_sentence: dict[tuple[str, str], list[KnownQuery]] = {}
        for query in self.queries:
            for name in {query.query_id, query.key}:
                self._by_id.setdefault(name, []).append(query)
            self._by_index.setdefault((query.video_id, query.index), []).append(query)
            self._by_sentence.setdefault((query.video_id, clean_sentence(query.sentence)), []).append(query)
            self._by_loose_sentence.setdefault((query.video_id, loose_sentence(query.sentence)), []).append(query)

    def find(self, record: Mapping[str, Any]) -> KnownQuery:
        """The query that a record names.

        Args:
            record: with `query_id` (the id, or the key within the annotation file), or with `video_id` and either
                `index` or `sentence` (also called `query`). `split`, and `video_id` beside an id, must agree.

        Raises:
            BadRecordError: no query is named, there is none of that name, or more than one.
        """
        record = {name: value for name, value in record.items() if value is not None}  # null: nothing is said
        query_id, video_id = record.get("query_id"), record.get("video_id")
        if query_id is not None:
            return self._by_name(query_id, record)
        if not isinstance(video_id, str):
            raise BadRecordError(
                'expected "query_id" with a text, or "video_id" with "index" or "sentence"; found the keys '
                f"{short(sorted(map(str, record)))}"
            )
        index, sentence = record.get("index"), record.get("sentence", record.get("query"))
        what = f"of video {short(video_id)}"
        if isinstance(index, int) and not isinstance(index, bool):
            found = self._by_index.get((video_id, index), [])
            what = f"with the index {index} {what}"
            if isinstance(sentence, str):
                found = [own for own in found if loose_sentence(own.sentence) == loose_sentence(sentence)]
                what = f"{short(sentence)} {what}"
        elif isinstance(sentence, str):
            # As it is written first; without case and punctuation, which systems often strip, where that finds none.
            found = self._by_sentence.get((video_id, clean_sentence(sentence)), [])
            found = found or self._by_loose_sentence.get((video_id, loose_sentence(sentence)), [])
            what = f"{short(sentence)} {what}"
        else:
            raise BadRecordError(
                f'expected "query_id", or an "index" or a "sentence" beside "video_id"; found {short(dict(record))}'
            )
        if "split" in record:
            found = [own for own in found if own.split == record["split"]]
            what += f" in the split {short(record['split'])}"
        return self._single(found, what)

    def _by_name(self, query_id: object, record: Mapping[str, Any]) -> KnownQuery:
        if isinstance(query_id, bool) or not isinstance(query_id, str | int):
            raise BadRecordError(f'expected "query_id" with a text, found {short(query_id)}')
        found = self._by_id.get(str(query_id), [])
        if len(found) > 1:
            # A key that several files share, or one that is also the id of another query.
            found = [own for own in found if own.query_id == query_id] or [
                own for own in found if record.get("split", own.split) == own.split
            ]
        query = self._single(found, short(query_id))
        for name, expected in (("video_id", query.video_id), ("split", query.split)):
            if record.get(name, expected) != expected:
                raise BadRecordError(
                    f"query {short(query_id)} has {name} {short(expected)} in the annotations, {short(record[name])} "
                    "here",
                    "unknown",
                )
        return query

    def _single(self, found: list[KnownQuery], what: str) -> KnownQuery:
        if len(found) == 1:
            return found[0]
        if not found:
            sample = short(self.queries[0].query_id if self.queries else "")
            raise BadRecordError(
                f"the annotations have no query {what}. Predictions and annotations must belong to the same dataset; "
                f"its ids look like {sample}",
                "unknown",
            )
        ids = ", ".join(short(own.query_id) for own in found[:5]) + (", ..." if len(found) > 5 else "")
        raise BadRecordError(
            f"the query {what} is ambiguous: it may be any of {ids}. Give its query_id, or the split where they differ",
            "unknown",
        )


def finder_of_moments(moments: pd.DataFrame) -> QueryFinder:
    """A finder for a table of moments; the place of a sentence is that of its row among those of video and split.

    Args:
        moments: with the columns query_id, video_id and split, and sentence where sentences are to be found.
    """
    places = moments.groupby(["split", "video_id"], sort=False).cumcount()
    sentences = moments["sentence"] if "sentence" in moments else [""] * len(moments)
    return QueryFinder(
        KnownQuery(query_id, query_id, video_id, split, int(place), sentence)
        for query_id, video_id, split, place, sentence in zip(
            moments["query_id"], moments["video_id"], moments["split"], places, sentences, strict=True
        )
    )


def loose_sentence(text: str) -> str:
    """Sentence without case and punctuation at its ends, which many systems strip.

    >>> loose_sentence(" A person opens  the door. ")
    'a person opens the door'
    """
    return clean_sentence(text).casefold().strip(" .,;:!?\"'")


def short(value: Any) -> str:
    """A value as JSON on one line of a message, cut to 80 characters.

    >>> short({"a": "é"})
    '{"a": "é"}'
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
