"""Which query a record of predictions answers: by its id, or by its video and its place or its sentence."""

import functools
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vmr.annotations.parsed import clean_sentence
from vmr.video_ids import VideoNames


class BadRecordError(Exception):
    """A line of predictions cannot be used.

    Attributes:
        reason: why, as words for a message, without a full stop.
        kind: ``malformed``, ``duplicate``, ``unknown`` (the annotations have no such query, or several) or
            ``contradiction`` (the record contradicts the annotations: it counts ids otherwise, say).
    """

    def __init__(self, reason: str, kind: str = "malformed") -> None:
        super().__init__(reason)
        self.reason, self.kind = reason, kind


@dataclass(frozen=True)
class KnownQuery:
    """A query that a line may answer."""

    query_id: str  # unique among all queries
    key: str  # its id within its annotation file, such as the line number
    video_id: str
    split: str
    index: int  # its place among the sentences of its video in its annotation file, from 0
    sentence: str
    is_scored: bool = True  # False for moments that end where they start or before: nobody can find them
    is_named: bool = False  # whether the annotation file itself gives the key, which is its place there otherwise


_VIDEO = ("video_id", "vid", "video", "video_name", "clip_uid")
_SENTENCE = ("sentence", "query", "description", "desc")


class QueryFinder:
    """Finds the one query that a record of predictions means, or says why there is none."""

    def __init__(self, queries: Iterable[KnownQuery]) -> None:
        self.queries = list(queries)
        self._by_id: dict[str, list[KnownQuery]] = {}
        self._by_index: dict[tuple[str, int], list[KnownQuery]] = {}
        for query in self.queries:
            for name in {query.query_id, query.key}:
                self._by_id.setdefault(name, []).append(query)
            self._by_index.setdefault((query.video_id, query.index), []).append(query)
        self._has_names = any(query.is_named for query in self.queries)
        self._videos = VideoNames({query.video_id for query in self.queries})
        self._small = {query.video_id.casefold(): query.video_id for query in self.queries}
        numbers = [int(query.key) for query in self.queries if query.key.isascii() and query.key.isdigit()]
        self._numbers = (min(numbers), max(numbers)) if numbers and not self._has_names else None
        # Made when the first record names a sentence: they take longer than all ids of a file.
        self._said = functools.cache(self._by_sentence)

    def _by_sentence(self, form: Callable[[str], str]) -> dict[tuple[str, str], list[KnownQuery]]:
        """The queries by video and a form of their sentences."""
        found: dict[tuple[str, str], list[KnownQuery]] = {}
        for query in self.queries:
            found.setdefault((query.video_id, form(query.sentence)), []).append(query)
        return found

    def find(self, record: Mapping[str, Any]) -> KnownQuery:
        """The query that a record names.

        Args:
            record: with `query_id` (the id, or the key within the annotation file), or with `video_id` and either
                `index` or `sentence`. Video and sentence have the names that other systems give them, too. What stands
                beside an id must agree with it. `qid`, an id in the annotations of the system that wrote the record,
                is looked up where the annotations have ids of their own; else video and sentence must stand beside it.

        Raises:
            BadRecordError: no query is named, there is none of that name, or more than one, or its keys contradict
                each other.
        """
        record = {name: value for name, value in record.items() if value is not None}  # null: nothing is said
        video_id = next((record[name] for name in _VIDEO if name in record), None)
        if isinstance(video_id, str):
            video_id = self._videos.find(video_id) or video_id
        sentence = next((record[name] for name in _SENTENCE if isinstance(record.get(name), str)), None)
        split, index = record.get("split"), record.get("index")
        if {"annotation_uid", "query_idx"} <= set(record):  # Ego4D's NLQ
            record["query_id"] = f"{record['annotation_uid']}_{record['query_idx']}"
        if "query_id" in record:
            return self._by_name(record["query_id"], video_id, sentence, split)
        has_both = isinstance(video_id, str) and sentence is not None
        if "qid" in record and not has_both:
            if self._has_names:
                return self._by_name(record["qid"], video_id, sentence, split)
            raise BadRecordError(
                'the annotations have no "qid": expected "vid" and "query" beside it, or "query_id" with the number of '
                f"the line; found the keys {short(sorted(map(str, record)))}"
            )
        if not isinstance(video_id, str):
            raise BadRecordError(
                'expected "query_id" with a text, or "video_id" with "index" or "sentence"; found the keys '
                f"{short(sorted(map(str, record)))}"
            )
        what = f"of video {short(video_id)}"
        if isinstance(index, int) and not isinstance(index, bool):
            found = self._by_index.get((video_id, index), [])
            what = f"with the index {index} {what}"
            if not found and self._by_index.get((video_id, index - 1)):
                raise BadRecordError(
                    f"the annotations have no query {what}, the last one is {index - 1}. Count from 0, or give the "
                    "sentence instead",
                    "contradiction",
                )
            if sentence is not None and found:
                found = [own for own in found if self._says(own, sentence)]
                if not found:
                    raise BadRecordError(f"the query {what} is another than {short(sentence)}", "contradiction")
        elif sentence is not None:
            # As it is written first; where that finds none, without case and punctuation, which systems often strip;
            # then by letters alone, since they also divide words and add marks.
            found = []
            for form in (clean_sentence, loose_sentence, letters):
                found = found or self._said(form).get((video_id, form(sentence)), [])
            what = f"{short(sentence)} {what}"
            meant = self._small.get(video_id.casefold(), video_id)
            if meant != video_id and not self._videos.find(video_id):
                what += f" (is it {short(meant)}?)"
        else:
            raise BadRecordError(
                f'expected "query_id", or an "index" or a "sentence" beside "video_id"; found {short(dict(record))}'
            )
        if split is not None:
            found = [own for own in found if own.split == split]
            what += f" in the split {short(split)}"
        if "qid" in record and self._has_names:
            # An id that the annotations give decides; a sentence that stands twice in its video is told apart by it.
            return self._by_name(record["qid"], video_id, sentence, split)
        return self._single(found, what)

    def _by_name(self, query_id: object, video_id: object, sentence: str | None, split: object) -> KnownQuery:
        if isinstance(query_id, bool) or not isinstance(query_id, str | int):
            raise BadRecordError(f'expected "query_id" with a text, found {short(query_id)}')
        found = self._by_id.get(str(query_id), [])
        if len(found) > 1:
            # A key that several files share, or one that is also the id of another query.
            found = [own for own in found if own.query_id == query_id] or [
                own for own in found if split in (None, own.split)
            ]
        if not found:
            self._refuse_shifted(str(query_id))
            if self._videos.find(str(query_id)):
                raise BadRecordError(
                    f'{short(query_id)} is a video: expected a query, or "video_id" with "index" or "sentence"'
                )
        query = self._single(found, short(query_id))
        for name, expected, given in (("video_id", query.video_id, video_id), ("split", query.split, split)):
            if given not in (None, expected):
                raise BadRecordError(
                    f"query {short(query_id)} has {name} {short(expected)} in the annotations, {short(given)} here",
                    "contradiction",
                )
        if sentence is not None and not self._says(query, sentence):
            raise BadRecordError(
                f"query {short(query_id)} is {short(query.sentence)} in the annotations, {short(sentence)} here",
                "contradiction",
            )
        return query

    def _refuse_shifted(self, query_id: str) -> None:
        """Refuse an id that is one before the first or behind the last: then all the others are one off, too."""
        video_id, _, place = query_id.rpartition(":")
        numbers = self._numbers
        if video_id and place.isdigit() and self._by_index.get((video_id, int(place) - 1)):
            numbers = (0, int(place) - 1)
        elif video_id or not numbers or query_id not in (str(numbers[0] - 1), str(numbers[1] + 1)):
            return
        raise BadRecordError(
            f"the annotations have no query {short(query_id)}: they are numbered from {numbers[0]} to {numbers[1]}. "
            'Count as they do, or give "video_id" and "sentence" instead of the number',
            "contradiction",
        )

    def _says(self, query: KnownQuery, sentence: str) -> bool:
        """Whether a sentence can be that of a query: systems strip it, cut it, and put <eos> and <unk> into it."""
        own, given = letters(query.sentence), letters(sentence)
        if own == given or not given or re.search(r"[<\[]unk[>\]]", sentence.casefold()):
            return True
        return own.startswith(given) and (query.video_id, given) not in self._said(letters)

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
    """A finder for a table of moments, by sentence too where it has that column.

    The place of a sentence is that of its row among those of video and split.
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


def letters(text: str) -> str:
    """Letters and digits of a sentence alone, without case and without marks such as <eos>.

    >>> letters("A person 's phone. <eos>")
    'apersonsphone'
    """
    plain = unicodedata.normalize("NFKC", re.sub(r"<[^<>]*>", "", text)).casefold()
    return re.sub(r"[\W_]+", "", plain)


def short(value: Any) -> str:
    """A value as JSON on one line of a message, cut to 80 characters.

    >>> short({"a": "é"})
    '{"a": "é"}'
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
