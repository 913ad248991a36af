"""Checks of the sentences: words that the vectors know, lengths, repetitions, and whether there are enough."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from vmr.doctor.findings import Finding, found
from vmr.queries.embed import known_words
from vmr.queries.tokenize import tokenize

# Fewer training sentences teach nothing beyond the best constant window (docs/your-videos.md).
FEWEST_SENTENCES = 200


def check_queries(moments: pd.DataFrame, vectors: Path, *, train_split: str, max_words: int) -> list[Finding]:
    """Look at the sentences of a dataset; words are looked up where the file of word vectors is there."""
    words = {text: tokenize(text) for text in dict.fromkeys(moments["sentence"])}
    named = list(zip(moments["query_id"], moments["video_id"], moments["sentence"], strict=True))
    known: Collection[str] | None = None
    if vectors.is_file():
        known = known_words(vectors, {word for own in words.values() for word in own})
    empty = [query_id for query_id, _, text in named if not words[text]]
    unknown = [
        f"{query_id}: {text!r}"
        for query_id, _, text in named
        if words[text] and known is not None and not any(word in known and word.isalnum() for word in words[text])
    ]
    long = [f"{query_id}: {len(words[text])} words" for query_id, _, text in named if len(words[text]) > max_words]
    counts = Counter((video_id, text.casefold().rstrip(". ")) for _, video_id, text in named)
    twice = [f"{video_id}: {text!r}, {count} times" for (video_id, text), count in counts.items() if count > 1]
    trained = int((moments["split"] == train_split).sum())
    few = [f"{trained:,} in {train_split}"] if trained < FEWEST_SENTENCES else []
    return [
        found("queries: without a word", empty, "Remove them, or write a sentence.", of=len(named)),
        found(
            "queries: without a known word",
            unknown,
            "All of them look the same to a network. Are they English? Other vectors: `queries.vectors`.",
            of=len(named),
            skip=f"{vectors} is not there yet" if known is None else "",
        ),
        found("queries: longer than is read", long, f"Words after the first {max_words} are cut.", level="note"),
        found(
            "queries: one sentence several times in a video",
            twice,
            "Of several moments only one is right for each; a record with all windows says that they all are.",
            level="note",
        ),
        found(
            "queries: few training sentences",
            few,
            f"From about {FEWEST_SENTENCES} on a network learns more than the best constant window.",
            level="note",
        ),
    ]
