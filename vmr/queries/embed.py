"""The stage embed_queries: the table of moments and a file of word vectors to a query store."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from vmr.annotations.moments import read_moments
from vmr.errors import QueryError
from vmr.queries.glove import is_encoder, read_vectors, vector_dimension
from vmr.queries.store import UNKNOWN, UNKNOWN_WORD, write_query_store
from vmr.queries.tokenize import tokenize
from vmr.queries.word_pieces import words_known
from vmr.storage.files import sha256_file, write_json
from vmr.storage.provenance import library_versions

log = logging.getLogger(__name__)

_REPORTED_UNKNOWN_WORDS = 50


def embed_queries(*, moments: Path, vectors: Path, output: Path, report: Path, max_words: int) -> None:
    """Tokenize every sentence, look its words up, and write the query store and a report of counts.

    Args:
        vectors: a GloVe text file, plain or ``.gz``; or the asset `minilm_l6_v2`, whose vectors depend on the sentence.
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

    vocabulary = {word for words in tokens.values() for word in words}
    token_ids, words, matrix = (_contextual if is_encoder(vectors) else _static)(tokens, vectors)
    if vocabulary and len(words) == 1:
        raise QueryError(f"{vectors}: knows none of the {len(vocabulary)} words of {moments}. Is it an English file?")

    write_query_store(
        output,
        token_ids=token_ids,
        words=words,
        vectors=matrix,
        provenance={
            "vectors": vectors.name,
            "vectors_sha256": sha256_file(vectors),
            "dim": matrix.shape[1],
            "max_words": max_words,
            "tokenizer": "spacy.blank('en'), lower case",
            "moments_sha256": sha256_file(moments),
            "versions": library_versions(["spacy", "h5py", "numpy", "vmr"]),
        },
    )
    splits = dict(zip(table["query_id"], table["split"], strict=True))
    summary = _summary(tokens, splits, set(words), truncated)
    told = {"vectors": vectors.name, "dim": matrix.shape[1], "max_words": max_words, "words": len(vocabulary)}
    write_json(report, {**summary, **told})
    for split, counts in summary["splits"].items():
        log.info(
            "%s: %d queries, %d tokens, %.2f %% of them unknown to %s, %d sentences cut to %d tokens",
            split, counts["queries"], counts["tokens"], counts["oov_percent"], vectors.name, counts["truncated"],
            max_words,
        )  # fmt: skip


def known_words(vectors: Path, words: Collection[str]) -> set[str]:
    """The words of which a file, as `embed_queries` takes it, knows anything.

    Raises:
        QueryError: the file cannot be read.
    """
    if not is_encoder(vectors):
        return set(read_vectors(vectors, words))
    return words_known(vectors, words)


_Stored = tuple[dict[str, list[int]], list[str], Float32[np.ndarray, "W E"]]  # what `write_query_store` takes


def _static(tokens: Mapping[str, Sequence[str]], path: Path) -> _Stored:
    """One vector a word."""
    found = read_vectors(path, {word for words in tokens.values() for word in words})
    known = sorted(found)
    index = {word: row for row, word in enumerate(known, start=1)}
    dimension = len(found[known[0]]) if known else vector_dimension(path)
    matrix = np.zeros((len(known) + 1, dimension), dtype=np.float32)
    for word, row in index.items():
        matrix[row] = found[word]
    token_ids = {query_id: [index.get(word, UNKNOWN) for word in words] for query_id, words in tokens.items()}
    return token_ids, [UNKNOWN_WORD, *known], matrix


def _contextual(tokens: Mapping[str, Sequence[str]], path: Path) -> _Stored:
    """One vector a word of each different sentence."""
    from vmr.queries.sentence_encoder import WIDTH, SentenceEncoder  # loads torch

    sentences = sorted({tuple(words) for words in tokens.values()})
    known, rows = [UNKNOWN_WORD], [np.zeros((1, WIDTH), dtype=np.float32)]
    of_sentence: dict[tuple[str, ...], list[int]] = {}
    for words, (vectors, unknown) in zip(sentences, SentenceEncoder.read(path).words(sentences), strict=True):
        places = iter(range(len(known), len(known) + len(words)))
        of_sentence[words] = [UNKNOWN if is_unknown else next(places) for is_unknown in unknown]
        known += [word for word, is_unknown in zip(words, unknown, strict=True) if not is_unknown]
        rows.append(vectors[~np.array(unknown)])
    return {query_id: of_sentence[tuple(words)] for query_id, words in tokens.items()}, known, np.concatenate(rows)


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
