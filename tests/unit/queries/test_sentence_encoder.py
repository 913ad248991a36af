"""The sentence encoder, against BERT in plain NumPy and with the weights that come with the project."""

import numpy as np
import pytest
from reference.bert_reference import sentence_vector
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from vmr.assets.packages import installed_path
from vmr.assets.prepare import prepare_asset
from vmr.assets.registry import ASSETS
from vmr.errors import QueryError
from vmr.queries.sentence_encoder import SentenceEncoder

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


def test_vectors_are_those_of_plain_bert_and_of_no_neighbour(tmp_path):
    weights = random_weights()
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = Whitespace()
    save_file(weights, tmp_path / "m.safetensors", metadata={"tokenizer": tokenizer.to_str()})
    encode = SentenceEncoder(tmp_path / "m.safetensors")
    sentences = ["a dog runs", "cat", "a cat sleeps a dog runs"]  # of three lengths: padding is at work
    found = encode(sentences)
    for sentence, vector in zip(sentences, found, strict=True):
        expected = sentence_vector(weights, [WORDS.index(word) for word in sentence.split()], heads=12)
        np.testing.assert_allclose(vector, expected, atol=2e-6)
    np.testing.assert_allclose(encode(sentences[:1])[0], found[0], atol=1e-6)


def test_what_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(QueryError, match="vmr assets prepare minilm_l6_v2"):
        SentenceEncoder(tmp_path / "none.safetensors")
    save_file({"a": np.zeros(2, dtype=np.float32)}, tmp_path / "other.safetensors", metadata={})
    with pytest.raises(QueryError, match=r"other\.safetensors: not the weights of MiniLM"):
        SentenceEncoder(tmp_path / "other.safetensors")


@pytest.mark.slow
@pytest.mark.skipif(installed_path(ASSETS["minilm_l6_v2"], "archive") is None, reason="its package is not installed")
def test_the_weights_of_the_package_know_paraphrases(tmp_path):
    prepare_asset("minilm_l6_v2", output=tmp_path / "m.safetensors", cache=tmp_path)
    one, other, third = SentenceEncoder(tmp_path / "m.safetensors")(
        ["someone turns a pancake over in the pan", "flipping pancake", "playing chess"]
    )
    # The transformers library (5.24, float32) gives 0.7529 and 0.0758 with the same weights.
    assert one @ other == pytest.approx(0.7529, abs=1e-3)
    assert one @ third == pytest.approx(0.0758, abs=1e-3)
