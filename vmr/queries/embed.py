"""The stage embed_queries: the table of moments and a file of word vectors to a query store."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vmr.annotations.moments import read_moments
from vmr.errors import QueryError
from vmr.queries.glove import read_vectors, vector_dimension
from vmr.queries.store import UNKNOWN, UNKNOWN_WORD, write_query_store
from vmr.queries.tokenize import tokenize
from vmr.storage.files import sha256_file, write_json
from vmr.storage.provenance import library_versions

log = logging.getLogger(__name__)

_REPORTED_UNKNOWN_WORDS = 50


def embed_queries(*, moments: Path, vectors: Path, output: Path, report: Path, max_words: int) -> None:
    """Tokenize every sentence, look its words up, and write the query store and a report of counts.

    Args:
        vectors: a GloVe text file, plain or ``.gz``.
        report: JSON to write: queries, tokens, words, unknown words and truncated queries of every split.
        max_words: longer sentences are cut to so many tokens, and counted (the paper: 25).

    Raises:
        QueryError: a sentence has no words, or the vectors cannot be read or know no word at all.
    """
    table = read_moments(moments)
    tokens: dict[str, list[str]] = {}
    truncated: Counter[str] = Counter()
    rows = zip(table["query_id"], table["split"], table["sentence"], strict=True)
    for query_id, split, sentence in tqdm(rows, total=len(table), desc="tokenize", disable=None):
        words = tokenize(sentence)
        if not words:
            raise QueryError(
                f"{moments}: query {query_id} has no words (its sentence is {sentence!r}). "
                "Remove it from the annotations, or give it a sentence."
            )
        truncated[split] += len(words) > max_words
        tokens[query_id] = words[:max_words]

    vocabulary = sorted({word for words in tokens.values() for word in words})
    found = read_vectors(vectors, vocabulary)
    if vocabulary and not found:
        raise QueryError(f"{vectors}: knows none of the {len(vocabulary)} words of {moments}. Is it an English file?")
    known = sorted(found)
    index = {word: row for row, word in enumerate(known, start=1)}
    dimension = len(found[known[0]]) if known else vector_dimension(vectors)
    matrix = np.zeros((len(known) + 1, dimension), dtype=np.float32)
    for word, row in index.items():
        matrix[row] = found[word]

    write_query_store(
        output,
        token_ids={query_id: [index.get(word, UNKNOWN) for word in words] for query_id, words in tokens.items()},
        words=[UNKNOWN_WORD, *known],
        vectors=matrix,
        provenance={
            "vectors": vectors.name,
            "vectors_sha256": sha256_file(vectors),
            "dim": dimension,
            "max_words": max_words,
            "tokenizer": "spacy.blank('en'), lower case",
            "moments_sha256": sha256_file(moments),
            "versions": library_versions(["spacy", "h5py", "numpy", "vmr"]),
        },
    )
    splits = dict(zip(table["query_id"], table["split"], strict=True))
    summary = _summary(tokens, splits, set(known), truncated)
    write_json(
        report, {**summary, "vectors": vectors.name, "dim": dimension, "max_words": max_words, "words": len(vocabulary)}
    )
    for split, counts in summary["splits"].items():
        log.info(
            "%s: %d queries, %d tokens, %.2f %% of them unknown to %s, %d sentences cut to %d tokens",
            split, counts["queries"], counts["tokens"], counts["oov_percent"], vectors.name, counts["truncated"],
            max_words,
        )  # fmt: skip


def _summary(
    tokens: dict[str, list[str]], splits: dict[str, str], known: set[str], truncated: Counter[str]
) -> dict[str, Any]:
    queries: Counter[str] = Counter(splits.values())
    total: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    unknown_words: Counter[str] = Counter()
    for query_id, words in tokens.items():
        missing = [word for word in words if word not in known]
        total[splits[query_id]] += len(words)
        unknown[splits[query_id]] += len(missing)
        unknown_words.update(missing)
    return {
        "splits": {
            split: {
                "queries": queries[split],
                "tokens": total[split],
                "oov": unknown[split],
                "oov_percent": 100.0 * unknown[split] / total[split],
                "truncated": truncated[split],
            }
            for split in sorted(queries)
        },
        "oov_words": len(unknown_words),
        "most_frequent_oov": dict(
            sorted(unknown_words.items(), key=lambda item: (-item[1], item[0]))[:_REPORTED_UNKNOWN_WORDS]
        ),
    }
