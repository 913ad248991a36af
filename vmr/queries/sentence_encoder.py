"""Vectors of sentences and of their words, by MiniLM (Reimers and Gurevych's all-MiniLM-L6-v2): paraphrases point the
same way, and a word's vector depends on its sentence.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from tokenizers import Encoding
from torch import Tensor, nn
from torch.nn import functional

from vmr.queries.word_pieces import open_encoder, read_tokenizer

WIDTH = 384
_HEADS, _HIDDEN, _EPS = 12, 1536, 1e-12
_MOST_TOKENS = 128
_AT_ONCE = 64
WordVectors = tuple[Float32[np.ndarray, "L 384"], list[bool]]  # one row a word, and whether the word is unknown


class SentenceEncoder:
    """Sentences to vectors of length 1, or to one vector a word.

    Torch's own encoder gives what the transformers library gives, within 3e-7, and saves 60 MB and 4 s of start-up.

    Args:
        weights: the network, under the names of its publisher.
        tokenizer: the text of its tokenizer.json.

    Raises:
        KeyError: a weight is missing.
        RuntimeError: a weight has another shape.
    """

    def __init__(self, weights: Mapping[str, Tensor], tokenizer: str) -> None:
        self.weights, self.tokenizer = weights, tokenizer
        self._tokenizer, self._unknown = read_tokenizer(tokenizer)
        self._network = _Network(weights).eval()
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(_MOST_TOKENS)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The encoder of the asset `minilm_l6_v2`.

        Raises:
            QueryError: the file is missing, damaged, or not this network.
        """
        with open_encoder(path, "pt") as (file, tokenizer):
            return cls({name: file.get_tensor(name) for name in file.keys()}, tokenizer)  # noqa: SIM118 - no dictionary

    @torch.inference_mode()
    def __call__(self, sentences: Sequence[str]) -> Float32[np.ndarray, "Q 384"]:
        """The vectors, in the order of the sentences; their products are cosines."""
        found = np.zeros((len(sentences), WIDTH), dtype=np.float32)
        for some, _, mask, rows in self._encoded(sentences):
            found[some] = functional.normalize(rows.sum(dim=1) / mask.sum(dim=1, keepdim=True), dim=1).numpy()
        return found

    @torch.inference_mode()
    def words(self, sentences: Sequence[Sequence[str]]) -> list[WordVectors]:
        """One vector for each word of each sentence: the mean of the last layer over the pieces of the word.

        Words of which the network knows no piece, and those beyond its 128 pieces, have zeros.
        """
        found = [(np.zeros((len(words), WIDTH), dtype=np.float32), [True] * len(words)) for words in sentences]
        for some, tokens, _, rows in self._encoded(sentences, is_pretokenized=True):
            for number, pieces, own in zip(some, tokens, rows.numpy(), strict=True):
                vectors, unknown = found[number]
                of_word: dict[int, list[int]] = {}
                for place, (word, piece) in enumerate(zip(pieces.word_ids, pieces.ids, strict=True)):
                    if word is not None and piece != self._unknown:
                        of_word.setdefault(word, []).append(place)
                for word, places in of_word.items():
                    vectors[word], unknown[word] = own[places].mean(axis=0), False
        return found

    def _encoded(
        self, sentences: Sequence[Any], *, is_pretokenized: bool = False
    ) -> Iterator[tuple[list[int], list[Encoding], Bool[Tensor, "B L"], Float[Tensor, "B L 384"]]]:
        # Sentences of one length lie together, so that little is padded.
        order = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
        for first in range(0, len(order), _AT_ONCE):
            some = order[first : first + _AT_ONCE]
            tokens = self._tokenizer.encode_batch([sentences[number] for number in some], is_pretokenized)
            mask = torch.tensor([each.attention_mask for each in tokens]).bool()
            yield some, tokens, mask, self._network(torch.tensor([each.ids for each in tokens]), mask)


class _Network(nn.Module):
    """BERT of six layers."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        words, places = (weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position"))
        layers = sum(name.endswith("attention.self.query.weight") for name in weights)
        self.words, self.places = nn.Embedding(*words.shape), nn.Embedding(*places.shape)
        self.kinds = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=_EPS)
        layer = nn.TransformerEncoderLayer(
            WIDTH, _HEADS, _HIDDEN, dropout=0.0, activation="gelu", layer_norm_eps=_EPS, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.load_state_dict(_renamed(weights, layers), assign=True)  # no second copy beside `weights`

    def forward(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L 384"]:
        """Rows of the last layer, zeros where the mask is not True."""
        rows = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]] + self.kinds.weight[0])
        encoded: Tensor = self.encoder(rows, src_key_padding_mask=~mask) * mask[..., None]
        return encoded


def _renamed(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The weights under the names of torch's encoder, which keeps query, key and value in one matrix."""
    whole = {"words": "word_embeddings", "places": "position_embeddings", "kinds": "token_type_embeddings"}
    found = {f"{own}.weight": weights[f"embeddings.{name}.weight"] for own, name in whole.items()}
    found |= {f"norm.{part}": weights[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")}
    parts = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for layer in range(layers):
        own, theirs = f"encoder.layers.{layer}", f"encoder.layer.{layer}"
        for part in ("weight", "bias"):
            inputs = [weights[f"{theirs}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
            found[f"{own}.self_attn.in_proj_{part}"] = torch.cat(inputs)
            found |= {f"{own}.{name}.{part}": weights[f"{theirs}.{source}.{part}"] for name, source in parts.items()}
    return found
