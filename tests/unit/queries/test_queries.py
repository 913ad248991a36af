"""Tokens, GloVe files, the query store and the stage embed_queries."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from written import write_sentences

from vmr.errors import QueryError
from vmr.queries.embed import embed_queries
from vmr.queries.glove import read_vectors, vector_dimension
from vmr.queries.store import QueryStore, write_query_store
from vmr.queries.tokenize import tokenize

GLOVE = "the 1 2 3\n. . . 7 7 7\n. 4 5 6\nDoor 9 9 9\ndoor -1 0.5 2e-1\ndoor 8 8 8\n"


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text(GLOVE, encoding="utf-8")
    return path


def test_tokens_do_not_wait_for_torch() -> None:
    code = (
        "import sys; from vmr.queries.tokenize import tokenize; assert tokenize('A door.') == ['a', 'door', '.']\n"
        "assert 'torch' not in sys.modules; import torch; torch.zeros(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("Person opens THE door.", ["person", "opens", "the", "door", "."]),
        ("a person's  dog\tdoesn't bark", ["a", "person", "'s", "dog", "does", "n't", "bark"]),
        ("  \n ", []),
        ("", []),
        ("naïve café", ["naïve", "café"]),
    ],
)
def test_tokens(sentence: str, tokens: list[str]) -> None:
    assert tokenize(sentence) == tokens


def test_vectors_of_wanted_words_only(glove: Path) -> None:
    found = read_vectors(glove, ["the", "door", ".", "unheard-of"])
    assert sorted(found) == [".", "door", "the"]
    # The line of ". . ." is another word, and the second "door" does not count.
    assert found["."].tolist() == [4, 5, 6]
    assert found["door"].tolist() == [-1, 0.5, np.float32(0.2)]
    assert found["the"].dtype == np.float32


def test_compressed_and_headed_files_read_the_same(tmp_path: Path, glove: Path) -> None:
    packed = tmp_path / "glove.txt.gz"
    packed.write_bytes(gzip.compress(glove.read_bytes()))
    headed = tmp_path / "word2vec.txt"
    headed.write_text("6 3\n" + GLOVE, encoding="utf-8")
    for path in (packed, headed):
        assert vector_dimension(path) == 3
        assert read_vectors(path, ["door"])["door"].tolist() == read_vectors(glove, ["door"])["door"].tolist()


@pytest.mark.parametrize("content", ["", "the\n", "the 1 2 x\n", "the 1 2 nan\n", "a 1 2 3\nthe 1 2\nb 1 2 3\n"])
def test_foreign_vector_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(QueryError, match=r"vectors\.txt"):
        read_vectors(path, ["the", "a"])


def test_damaged_and_missing_vector_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt.gz"
    path.write_bytes(gzip.compress(GLOVE.encode() * 1000)[:-20])
    with pytest.raises(QueryError, match="cannot be read"):
        read_vectors(path, ["never"])
    with pytest.raises(QueryError, match=r"queries\.vectors"):
        read_vectors(tmp_path / "absent.txt", ["the"])


def embed(glove: Path, sentences: dict[str, str], *, name: str = "q", max_words: int = 25) -> None:
    folder = glove.parent
    files = {"output": folder / f"{name}.h5", "report": folder / f"{name}.json"}
    write_sentences(folder / "moments.csv", sentences)
    embed_queries(moments=folder / "moments.csv", vectors=glove, max_words=max_words, **files)


def test_embedding(tmp_path: Path, glove: Path) -> None:
    sentences = {"train:1": "The door.", "train:2": "zebra xylophone", "test:1": "the the the door"}
    embed(glove, sentences, max_words=3)
    store = QueryStore(tmp_path / "q.h5")
    assert store.query_ids == ["train:1", "train:2", "test:1"]
    assert store.words == ["<unk>", ".", "door", "the"]
    assert store.dim == 3
    assert not store.vectors[0].any()
    assert [store.words[index] for index in store.token_ids("train:1")] == ["the", "door", "."]
    assert store.token_ids("train:2").tolist() == [0, 0]
    assert len(store.token_ids("test:1")) == 3
    assert store.vectors[store.token_ids("train:1")[1]].tolist() == [-1, 0.5, np.float32(0.2)]
    assert store.provenance["vectors"] == "glove.txt"
    assert len(store.provenance["vectors_sha256"]) == 64
    report = json.loads((tmp_path / "q.json").read_text())
    assert report["splits"]["train"] == {"queries": 2, "tokens": 5, "oov": 2, "oov_percent": 40.0, "truncated": 0}
    assert report["splits"]["test"]["truncated"] == 1
    assert report["most_frequent_oov"] == {"xylophone": 1, "zebra": 1}
    with pytest.raises(QueryError, match="train:9"):
        store.token_ids("train:9")


def test_embedding_twice_gives_the_same_content(tmp_path: Path, glove: Path) -> None:
    for name in ("a", "b"):
        embed(glove, {"train:1": "the door ."}, name=name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_queries_without_words_are_refused_by_name(tmp_path: Path, glove: Path) -> None:
    with pytest.raises(QueryError, match="train:2"):
        embed(glove, {"train:1": "the", "train:2": "  "})
    assert not (tmp_path / "q.h5").exists()
    with pytest.raises(QueryError, match="q1"):
        write_query_store(
            tmp_path / "q.h5", token_ids={"q1": []}, words=["<unk>"], vectors=np.zeros((1, 3)), provenance={}
        )


def test_vectors_that_know_no_word_are_refused(glove: Path) -> None:
    with pytest.raises(QueryError, match="none of the 1 words"):
        embed(glove, {"train:1": "zebra"})


def test_other_files_are_no_query_stores(tmp_path: Path) -> None:
    (tmp_path / "q.h5").write_bytes(b"no")
    with pytest.raises(QueryError, match="embed_queries"):
        QueryStore(tmp_path / "q.h5")
    with pytest.raises(QueryError, match="embed_queries"):
        QueryStore(tmp_path / "absent.h5")


@pytest.mark.parametrize(("name", "percent"), [("6B", 99.9), ("840B", 99.7)])
def test_glove_knows_the_words_of_charades_sta(shared_data: Path, name: str, percent: float) -> None:
    # shared/data/README.md: 99.95 and 99.75 % of the tokens, with another tokenizer.
    counts: dict[str, int] = {}
    sentences = [
        line.split("##")[1]
        for split in ("train", "test")
        for line in (shared_data / f"charades_sta/charades_sta_{split}.txt").read_text(encoding="utf-8").splitlines()
    ]
    for token in (token for sentence in sentences for token in tokenize(sentence)):
        counts[token] = counts.get(token, 0) + 1
    found = read_vectors(shared_data / f"glove/glove.{name}.300d.cut.txt", counts)
    assert all(vector.shape == (300,) for vector in found.values())
    assert 100 * sum(counts[word] for word in found) / sum(counts.values()) > percent
