"""The comments of `config.yaml` are the descriptions of the settings."""

from pathlib import Path

import yaml
from pydantic import BaseModel

from vmr.config.comments import with_comments
from vmr.config.whole import Config
from vmr.settings.section import Section

CONFIG = Path("config.yaml")


def test_the_comments_in_the_tree_are_the_generated_ones():
    text = CONFIG.read_text(encoding="utf-8")
    assert with_comments(text) == text, "write them again: vmr config comments"


def test_comments_change_no_value_and_are_written_once():
    text = CONFIG.read_text(encoding="utf-8")
    stale = text.replace("fps: 24 #", "fps: 24 # another text, ", 1)
    bare = "\n".join(line.partition(" #")[0] for line in text.split("\n"))
    assert with_comments(stale) == text
    for written in (with_comments(bare), with_comments(stale)):
        assert yaml.safe_load(written) == yaml.safe_load(text)
        assert with_comments(written) == written


def test_quoted_signs_are_values_and_a_datasets_own_comments_stay():
    text = "\n".join(
        ["datasets:", "  a: # mine", "    title: 'A # B' # x", "  b:", "    title: C#D # of b", "video:", "  fps: 3"]
    )
    written = with_comments(text).split("\n")
    assert written[1] == "  a: # mine" and written[4] == "    title: C#D # of b"
    assert written[2].startswith("    title: 'A # B' # ") and not written[2].endswith("x")
    assert written[6].startswith("  fps: 3 # Frames a second")


def every(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [model] + [deeper for own in model.__subclasses__() for deeper in every(own)]


def test_each_setting_says_what_it_is():
    without = [
        f"{section.__name__}.{name}"
        for section in every(Section)
        if section.__module__.startswith("vmr.") and section is not Config
        for name, field in section.model_fields.items()
        if not field.description and not (isinstance(field.annotation, type) and issubclass(field.annotation, Section))
    ]
    assert not without
