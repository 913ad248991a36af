"""The tokenizer of a sentence encoder, and which words it knows: without the network, and without torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from vmr.errors import QueryError

_ENTRY = "tokenizer"  # of the file's metadata, with the text of tokenizer.json


@contextmanager
def open_encoder(path: Path, framework: str) -> Iterator[tuple[Any, str]]:
    """The asset `minilm_l6_v2`, as safetensors opens it, and the text of its tokenizer.json.

    Raises:
        QueryError: the file is missing, damaged, or not this network.
    """
    try:
        with safe_open(path, framework=framework) as file:
            yield file, (file.metadata() or {})[_ENTRY]
    except FileNotFoundError as error:
        raise QueryError(
            f"{path}: there is no such file. Make it with `vmr assets prepare minilm_l6_v2 --output {path}`."
        ) from error
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise QueryError(f"{path}: not the weights of MiniLM ({error}). Make the file again.") from error


def read_tokenizer(text: str) -> tuple[Tokenizer, int | None]:
    """A tokenizer, and the number of the piece that stands for what it does not know; None where it knows all."""
    tokenizer = Tokenizer.from_str(text)
    unknown = json.loads(text)["model"].get("unk_token")
    return tokenizer, tokenizer.token_to_id(unknown) if unknown else None


def words_known(path: Path, words: Collection[str]) -> set[str]:
    """The words of which an encoder knows a piece.

    Raises:
        QueryError: see `open_encoder`.
    """
    with open_encoder(path, "np") as (_, text):
        tokenizer, unknown = read_tokenizer(text)
    tokenizer.no_padding()
    encoded = tokenizer.encode_batch([[word] for word in words], is_pretokenized=True, add_special_tokens=False)
    return {word for word, pieces in zip(words, encoded, strict=True) if set(pieces.ids) - {unknown}}
