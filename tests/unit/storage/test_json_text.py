import json

import pytest

from vmr.storage.json_text import DeepError, load_json


@pytest.mark.parametrize("deep", ["[" * 100_000 + "]" * 100_000, '{"a":' * 101 + "1" + "}" * 101, "[" * 5000])
def test_what_is_nested_deep_is_refused_in_words(deep):
    with pytest.raises(DeepError, match="nested more than 100 deep"):
        load_json(deep)


def test_brackets_in_texts_and_side_by_side_are_no_depth():
    value = {"a \\": ["[{" * 300, '"' + "[" * 300, [[]] * 300]}
    assert load_json(json.dumps(value).encode()) == value
    deepest = "[" * 100 + "]" * 100
    assert load_json(deepest) == json.loads(deepest)


@pytest.mark.parametrize("text", ['"' + '\\"' * 500_000, '["' + "[" * 500_000, b"[\xff" + b"[" * 200, "9" * 10_000])
def test_what_is_no_json_is_a_value_error_at_once(text):
    with pytest.raises(ValueError):
        load_json(text)
