"""Vectors of whole sentences, by MiniLM (Reimers and Gurevych's all-MiniLM-L6-v2): paraphrases point the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from vmr.errors import QueryError

WIDTH = 384
_HEADS, _HIDDEN, _EPS = 12, 1536, 1e-12
_MOST_TOKENS = 128
_AT_ONCE = 64
TOKENIZER = "tokenizer"  # entry of the file's metadata with the text of tokenizer.json


class SentenceEncoder:
    """Sentences to vectors of length 1.

    Torch's own encoder gives what the transformers library gives, within 3e-7, and saves 60 MB and 4 s of start-up.

    Args:
        path: the asset `minilm_l6_v2`.

    Raises:
        QueryError: the file is missing, damaged, or not this network.
    """

    def __init__(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                self._tokenizer: Tokenizer = Tokenizer.from_str((file.metadata() or {})[TOKENIZER])
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
            self._network = _Network(weights).eval()
        except FileNotFoundError as error:
            raise QueryError(
                f"{path}: there is no such file. Make it with `vmr assets prepare minilm_l6_v2 --output {path}`."
            ) from error
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            raise QueryError(f"{path}: not the weights of MiniLM ({error}). Make the file again.") from error
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(_MOST_TOKENS)

    @torch.inference_mode()
    def __call__(self, sentences: Sequence[str]) -> Float32[np.ndarray, "Q 384"]:
        """The vectors, in the order of the sentences; their products are cosines."""
        # Sentences of one length lie together, so that little is padded.
        order = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
        found = np.zeros((len(sentences), WIDTH), dtype=np.float32)
        for first in range(0, len(order), _AT_ONCE):
            some = order[first : first + _AT_ONCE]
            tokens = self._tokenizer.encode_batch([sentences[number] for number in some])
            ids = torch.tensor([each.ids for each in tokens])
            mask = torch.tensor([each.attention_mask for each in tokens]).bool()
            found[some] = self._network(ids, mask).numpy()
        return found


class _Network(nn.Module):
    """BERT of six layers; a sentence's vector is the mean of its tokens'."""

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
        self.load_state_dict(_renamed(weights, layers))

    def forward(self, ids: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B 384"]:
        """Vectors of length 1; the mask is True at real tokens."""
        rows = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]] + self.kinds.weight[0])
        rows = self.encoder(rows, src_key_padding_mask=~mask) * mask[..., None]
        return F.normalize(rows.sum(dim=1) / mask.sum(dim=1, keepdim=True), dim=1)


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
