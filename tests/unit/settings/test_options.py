"""Options of commands come from sections, and are refused as `config.yaml` is."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field, field_validator
from typer.testing import CliRunner

from vmr.cli.groups import _group
from vmr.settings.options import Fields, options_from_sections
from vmr.settings.section import Section, Share


class Picture(Section):
    width: Annotated[int, Field(gt=0, le=64, description="Pixels of a row.")]
    weights: Annotated[str, Field(description="An asset or a file.")] = "an_asset"
    mask: Annotated[str | None, Field(description="A file.")] = None
    mode: Annotated[Literal["edge", "valid"], Field(description="What happens at borders.")] = "edge"
    share: Annotated[Share, Field(description="Kept.")] = 0.5
    noise: Annotated[list[Annotated[float, Field(ge=0)]], Field(description="Levels.")] = [0.25, 0.5]
    videos: Annotated[dict[str, Annotated[int, Field(gt=0)]], Field(description="Of a split.")] = {}
    limit: Annotated[int | None, Field(gt=0, description="Most of them.")] = None
    sharp: bool = False

    @field_validator("width")
    @classmethod
    def _even(cls, width: int) -> int:
        if width % 2:
            raise ValueError("must be even")
        return width


class Sound(Section):
    loud: float = 1.5


def run(*words: str, fields: Fields | None = None) -> tuple[int, str, list]:
    app, seen = _group("Trial."), []

    @app.callback()
    def main() -> None:
        pass

    @app.command()
    @options_from_sections
    def draw(
        output: Annotated[Path, typer.Argument(help="File to write.")] = Path("x"),
        *,
        picture: Annotated[Picture, fields or Fields()],
        sound: Sound,
    ) -> None:
        """Draw."""
        seen.extend([output, picture, sound])

    result = CliRunner().invoke(app, ["draw", *words], env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, result.output, seen


def test_every_kind_of_field() -> None:
    code, text, seen = run(
        "--width", "4", "--mask", "m", "--mode", "valid", "--share", "1", "--noise", "1", "--noise", "2",
        "--videos", "train=3", "--videos", "test=4", "--limit", "2", "--sharp", "--loud", "3", "--weights", "/w",
        fields=Fields(paths={"weights": "A file.", "mask": "A file."}),
    )  # fmt: skip
    assert code == 0, text
    expected = Picture(
        width=4, weights="/w", mask="./m", mode="valid", share=1, noise=[1, 2], videos={"train": 3, "test": 4},
        limit=2, sharp=True,
    )  # fmt: skip
    assert seen == [Path("x"), expected, Sound(loud=3)]


def test_defaults_are_those_of_the_sections() -> None:
    code, text, seen = run("--width", "2")
    assert code == 0, text
    assert seen[1:] == [Picture(width=2), Sound()]


def test_help_has_description_range_choices_and_default() -> None:
    _, text, _ = run("--help", fields=Fields(paths={"weights": "A file of weights."}))
    lines = {name: line for line in text.splitlines() for name in line.split() if name.startswith("--")}
    assert "Pixels of a row. (> 0, <= 64)" in lines["--width"] and "required" in lines["--width"]
    assert "edge|valid" in lines["--mode"] and "default: edge" in lines["--mode"]
    assert "A file of weights." in lines["--weights"] and "an_asset" not in lines["--weights"]
    assert "Most of them. (> 0)" in lines["--limit"]
    assert "default: 1.5" in lines["--loud"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--width", "3"], "width: Value error, must be even"),
        (["--width", "66"], "width: Input should be less than or equal to 64"),
        (["--width", "2", "--share", "nan"], "share: Input should be a finite number"),
        (["--width", "2", "--noise", "-1"], "noise.0: Input should be greater than or equal to 0"),
        (["--width", "2", "--videos", "train"], "--videos train: expected NAME=VALUE"),
        (["--width", "2", "--videos", "a=1", "--videos", "a=2"], "--videos: a name is given twice"),
        (["--width", "2", "--videos", "a=0"], "videos.a: Input should be greater than 0"),
    ],
)
def test_refused_as_in_the_configuration(words: list[str], said: str) -> None:
    code, text, seen = run(*words)
    assert (code, seen) == (1, [])
    assert said in text and text.startswith(("error: vmr draw", "error: --videos"))


def test_a_wrong_choice_and_a_missing_option_are_refused() -> None:
    assert run("--width", "2", "--mode", "round")[0] == 2
    assert run()[0] == 2


def test_only_some_fields() -> None:
    assert run("--width", "2", "--limit", "3", fields=Fields("width"))[0] == 2
    assert run("--width", "2", "--share", "0.1", fields=Fields(without=("limit",)))[0] == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [(Fields("height"), "no setting height"), (Fields("share"), "width has no default")],
)
def test_fields_that_cannot_be(fields: Fields, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        fields.of(Picture)


def test_two_options_of_one_name() -> None:
    with pytest.raises(TypeError, match="two options are called loud"):

        @options_from_sections
        def command(*, loud: int, sound: Sound) -> None: ...
