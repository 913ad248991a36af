"""Sentences to tokens, with spaCy's English rules."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.language import Language


def tokenize(sentence: str) -> list[str]:
    """Lower-case tokens of a sentence, punctuation included and white space left out; it may have none.

    The paper does not name its tokenizer; spaCy's rules for English need no model file.

    >>> tokenize("A person's  opening the door.")
    ['a', 'person', "'s", 'opening', 'the', 'door', '.']
    """
    return [token.lower_ for token in _english().tokenizer(sentence) if not token.is_space]


@functools.cache
def _english() -> Language:
    # thinc, spaCy's library of networks, loads torch wherever there is one, for two seconds; rules need no network.
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import spacy
    finally:
        if hidden:
            del sys.modules["torch"]
    return spacy.blank("en")
