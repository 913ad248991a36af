"""The doctor looks at sentences."""

import pandas as pd

from vmr.doctor.check_queries import check_queries


def checks(tmp_path, sentences, *, vectors=True):
    rows = [(f"train:{number}", "a", "train", text) for number, text in enumerate(sentences)]
    moments = pd.DataFrame(rows, columns=["query_id", "video_id", "split", "sentence"])
    if vectors:
        (tmp_path / "vectors.txt").write_text("a 0.1 0.2\nman 0.3 0.4\nwalks 0.5 0.6\n. 0.7 0.8\n")
    found = check_queries(moments, tmp_path / "vectors.txt", train_split="train", max_words=5)
    return {finding.check.removeprefix("queries: "): finding for finding in found}


def test_what_a_network_cannot_learn_from_is_told(tmp_path):
    found = checks(tmp_path, ["A man walks.", "a man walks", "der Hund rennt.", "a a a a a man", "..."])
    assert found["without a known word"].level == "wrong"
    assert found["without a known word"].examples == ("train:2: 'der Hund rennt.'", "train:4: '...'")
    assert found["longer than is read"].examples == ("train:3: 6 words",)
    assert found["one sentence several times in a video"].examples == ("a: 'a man walks', 2 times",)
    assert found["few training sentences"].examples == ("5 in train",) and found["without a word"].level == "ok"
    assert "From about 200 on" in found["few training sentences"].advice


def test_enough_sentences_and_absent_vectors(tmp_path):
    found = checks(tmp_path, [f"a man walks {number}" for number in range(200)], vectors=False)
    assert found["few training sentences"].level == "ok" and found["without a known word"].level == "skipped"
