"""The sentence encoder, against BERT in plain NumPy and with the weights that come with the project."""

import json

import numpy as np
import pytest
from reference.bert_reference import sentence_rows, sentence_vector
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from written import write_sentences

from vmr.assets.packages import installed_path
from vmr.assets.prepare import prepare_asset
from vmr.assets.registry import ASSETS
from vmr.errors import QueryError
from vmr.locate.word_table import WordEncoder, words_of
from vmr.queries.embed import embed_queries, known_words
from vmr.queries.sentence_encoder import SentenceEncoder
from vmr.queries.store import QueryStore

WORDS = ["[PAD]", "a", "dog", "runs", "cat", "sleeps"]


def random_weights(layers: int = 2) -> dict[str, np.ndarray]:
    """MiniLM's shapes with few layers and words; no scale or shift is 1 or 0."""
    draw = np.random.default_rng(0)
    shapes = {"embeddings.word_embeddings": (len(WORDS), 384), "embeddings.position_embeddings": (16, 384)}
    shapes |= {"embeddings.token_type_embeddings": (2, 384)}
    norms = ["embeddings.LayerNorm"]
    linear = {}
    for number in range(layers):
        own = f"encoder.layer.{number}"
        linear |= {f"{own}.attention.self.{name}": (384, 384) for name in ("query", "key", "value")}
        linear |= {f"{own}.attention.output.dense": (384, 384), f"{own}.intermediate.dense": (1536, 384)}
        linear |= {f"{own}.output.dense": (384, 1536)}
        norms += [f"{own}.attention.output.LayerNorm", f"{own}.output.LayerNorm"]
    found = {f"{name}.weight": draw.normal(size=shape) for name, shape in shapes.items()}
    for name, shape in linear.items():
        found[f"{name}.weight"] = draw.normal(size=shape) * 0.08
        found[f"{name}.bias"] = draw.normal(size=shape[0]) * 0.1
    for name in norms:
        found[f"{name}.weight"], found[f"{name}.bias"] = 1 + 0.2 * draw.normal(size=384), 0.2 * draw.normal(size=384)
    return {name: value.astype(np.float32) for name, value in found.items()}


def write_encoder(path) -> dict[str, np.ndarray]:
    weights = random_weights()
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_padding(length=8, pad_id=1)  # the published one, too, fills up each sentence
    save_file(weights, path, metadata={"tokenizer": tokenizer.to_str()})
    return weights


def test_vectors_are_those_of_plain_bert_and_of_no_neighbour(tmp_path):
    weights = write_encoder(tmp_path / "m.safetensors")
    encode = SentenceEncoder.read(tmp_path / "m.safetensors")
    sentences = ["a dog runs", "cat", "a cat sleeps a dog runs"]  # of three lengths: padding is at work
    found = encode(sentences)
    for sentence, vector in zip(sentences, found, strict=True):
        expected = sentence_vector(weights, [WORDS.index(word) for word in sentence.split()], heads=12)
        np.testing.assert_allclose(vector, expected, atol=2e-6)
    np.testing.assert_allclose(encode(sentences[:1])[0], found[0], atol=1e-6)


def test_a_words_vector_is_the_mean_of_its_pieces_in_its_sentence(tmp_path):
    weights = write_encoder(tmp_path / "m.safetensors")
    sentences = [["a", "cat sleeps", "unheard"], ["dog"]]
    (vectors, unknown), (alone, _) = SentenceEncoder.read(tmp_path / "m.safetensors").words(sentences)
    rows = sentence_rows(weights, [WORDS.index(piece) for piece in ("a", "cat", "sleeps", "[PAD]")], heads=12)
    np.testing.assert_allclose(vectors[:2], [rows[0], (rows[1] + rows[2]) / 2], atol=2e-5)
    assert unknown == [False, False, True] and not vectors[2].any()
    np.testing.assert_allclose(alone, sentence_rows(weights, [WORDS.index("dog")], heads=12), atol=2e-5)


def test_a_store_has_a_vector_for_each_word_of_each_sentence(tmp_path):
    encoder = tmp_path / "m.safetensors"
    write_encoder(encoder)
    sentences = {"train:1": "A dog runs", "train:2": "a unheard dog", "test:1": "a dog runs"}
    write_sentences(tmp_path / "moments.csv", sentences)
    files = {"moments": tmp_path / "moments.csv", "output": tmp_path / "q.h5", "report": tmp_path / "q.json"}
    embed_queries(vectors=encoder, max_words=25, **files)
    store, encode = QueryStore(tmp_path / "q.h5"), SentenceEncoder.read(encoder)
    for query_id, words, numbers in (
        ("train:1", ["a", "dog", "runs"], [1, 2, 3]),
        ("train:2", ["a", "unheard", "dog"], [1, 0, 2]),
    ):
        ids = store.token_ids(query_id)
        np.testing.assert_allclose(store.vectors[ids], encode.words([words])[0][0], atol=2e-5)
        assert store.word_numbers[ids].tolist() == numbers
    assert store.token_ids("test:1").tolist() == store.token_ids("train:1").tolist()
    assert json.loads((tmp_path / "q.json").read_text())["most_frequent_oov"] == {"unheard": 1}
    assert known_words(encoder, {"dog", "unheard", "cat unheard"}) == {"dog", "cat unheard"}

    words = WordEncoder(encode, max_words=3)
    again = words_of(words.tensors(), max_words=3).sentence("A dog runs away")
    np.testing.assert_allclose(again.vectors, store.vectors[store.token_ids("train:1")], atol=2e-5)
    assert again.words == ["a", "dog", "runs"] and again.left_out == ["away"] and not any(again.unknown)
    with pytest.raises(QueryError, match="no word of the query"):
        words.sentence("unheard")


def test_what_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(QueryError, match="vmr assets prepare minilm_l6_v2"):
        SentenceEncoder.read(tmp_path / "none.safetensors")
    save_file({"a": np.zeros(2, dtype=np.float32)}, tmp_path / "other.safetensors", metadata={})
    with pytest.raises(QueryError, match=r"other\.safetensors: not the weights of MiniLM"):
        SentenceEncoder.read(tmp_path / "other.safetensors")
    with pytest.raises(QueryError, match=r"other\.safetensors: not the weights of MiniLM"):
        known_words(tmp_path / "other.safetensors", ["a"])


@pytest.mark.slow
@pytest.mark.skipif(installed_path(ASSETS["minilm_l6_v2"], "archive") is None, reason="its package is not installed")
def test_the_weights_of_the_package_know_paraphrases(tmp_path):
    prepare_asset("minilm_l6_v2", output=tmp_path / "m.safetensors", cache=tmp_path)
    one, other, third = SentenceEncoder.read(tmp_path / "m.safetensors")(
        ["someone turns a pancake over in the pan", "flipping pancake", "playing chess"]
    )
    # The transformers library (5.24, float32) gives 0.7529 and 0.0758 with the same weights.
    assert one @ other == pytest.approx(0.7529, abs=1e-3)
    assert one @ third == pytest.approx(0.0758, abs=1e-3)
