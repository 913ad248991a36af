import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vmr import __version__, cli
from vmr.cli import app
from vmr.cli.groups import named_dataset, target_of


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


_WITHOUT_TORCH = "torch spacy"
_LIGHT = f"{_WITHOUT_TORCH} h5py yaml tqdm vmr.config vmr.methods"
_SPLIT, _OUT = ["--splits", "test", "--split-name", "test"], ["--output", "o"]
_TABLE = ["--metrics", "m", "--baselines", "b"]


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], f"{_LIGHT} pydantic pandas numpy"),
        (["train", "--help"], f"{_WITHOUT_TORCH} pandas h5py"),
        (["evaluate", "p.jsonl", "--annotations", "a.txt"], _LIGHT),
        (["baselines", "--moments", "m", *_SPLIT, "--video-scores", "v", *_OUT], _WITHOUT_TORCH),
        (["make-table", *_TABLE, "--dataset", "d", "--output-csv", "c", "--output-md", "o"], f"{_WITHOUT_TORCH} h5py"),
        (["report", "page", "--dataset", "d", "--metrics", "m", "--table", "t", "--moments", "d=m", "--output", "o"],
         _WITHOUT_TORCH),
        (["merge-features", "--shards", "f", "--statuses", "s", "--moments", "m", "--output", "o", "--coverage", "c"],
         _WITHOUT_TORCH),
        (["check-dataset", "--moments", "m", "--report", "r", "--test-splits", "test", *_OUT], _WITHOUT_TORCH),
        (["progress"], _WITHOUT_TORCH),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_command_waits_for_no_module_that_it_does_not_need(tmp_path, arguments, unwanted):
    code = (
        "import sys\nfrom vmr.cli import app\n"
        "try:\n    app(sys.argv[2:], prog_name='vmr')\n"
        "finally:\n    print('LOADED', *set(sys.argv[1].split()) & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, unwanted, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.stdout.splitlines()[-1].split() == ["LOADED"], result.stderr
    assert "Traceback" not in result.stderr


def commands(group, words=()):
    for name, command in group.commands.items():
        yield from commands(command, (*words, name)) if hasattr(command, "commands") else [(*words, name)]


@pytest.mark.parametrize("words", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_every_command_tells_its_options(words):
    result = run(*words, "--help")
    assert result.exit_code == 0, result.exception
    assert f" {' '.join(words)} " in result.output


_HANDED = [
    own
    for module in vars(cli).values()
    if inspect.ismodule(module)
    for own in vars(module).values()
    if hasattr(own, "target")
]


@pytest.mark.parametrize("command", _HANDED, ids=lambda command: command.__name__)
def test_a_command_hands_its_stage_what_that_takes(command):
    taken = inspect.signature(target_of(command)).parameters.values()
    given = {*inspect.signature(command).parameters, *(["code_digest"] if command.stage else [])}
    assert {own.name for own in taken if own.default is own.empty} <= given <= {own.name for own in taken}


@pytest.mark.parametrize(
    ("arguments", "target", "handed"),
    [
        (
            "report page --dataset d --metrics m --table t --output o --moments d=m.csv --moments e=n.csv",
            "vmr.report.page.make_report",
            {"moments": {"d": Path("m.csv"), "e": Path("n.csv")}, "coverage": {}},
        ),
        (
            "parse-annotations --annotation-format csv --output o --report r --annotations train=a --annotations "
            "train=b --expected train:lines=3",
            "vmr.annotations.parse.parse_annotations",
            {"annotations": {"train": [Path("a"), Path("b")]}, "expected": {"train": {"lines": 3}}},
        ),
    ],
)
def test_pairs_of_name_and_value_reach_the_stage_by_name(monkeypatch, arguments, target, handed):
    found = {}
    monkeypatch.setattr(target, lambda **options: found.update(options))
    assert run(*arguments.split()).exit_code == 0
    assert {name: found[name] for name in handed} == handed


def test_our_errors_are_one_line_and_exit_code_1(tmp_path):
    result = run("config", "check", tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert "none.yaml: there is no such configuration file" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--method", "foo"], "foo"),
        (["train", "--seed", str(2**64)], "--seed"),
        (["parse-annotations", "--annotation-format", "tacos"], "tacos"),
    ],
)
def test_wrong_choices_are_refused_at_the_door(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def needed(command):
    """The options that a command cannot do without, with values: 9 is a number, a name of a file, and a text."""
    own = typer.main.get_command(app)
    for word in command.split():
        own = own.commands[word]
    for option in own.get_params(typer.Context(own)):
        if option.required:
            value = {"layout": "hdf5"}.get(option.name, "9")
            yield from [value] if option.param_type_name == "argument" else [option.opts[0], value]


@pytest.mark.parametrize(
    ("command", "option", "value", "message"),
    [
        ("train", "threads", 100_000, "threads: Input should be less than or equal to 1024"),
        ("embed-queries", "max-words", 0, "max_words: Input should be greater than 0"),
        ("evaluate-run", "batch-size", 0, "batch_size: Input should be greater than 0"),
        ("extract", "window", 0, "window: Input should be greater than 0"),
        ("merge-features", "pca-components", 0, "pca_components: Input should be greater than 0"),
        ("features import", "fps", "inf", "fps: Input should be a finite number"),
        ("probe-videos", "probe-timeout-sec", "inf", "probe_timeout_sec: Input should be a finite number"),
        ("decode-frames", "fps", "1e9", "fps: Input should be less than or equal to 240"),
        ("render-demo", "duration-sec", "1", "duration_sec: Input should be greater than or equal to 3"),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_a_file_is_read(command, option, value, message):
    result = run(*command.split(), *needed(command), f"--{option}={value}")
    assert result.exit_code == 1
    assert result.output.startswith(f"error: vmr {command}: an entry is wrong:\n  {message}"), result.output


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("probe-videos", "--shards=0"),
        ("probe-videos", "--shard=-1"),
        ("decode-frames", "--workers=0"),
        ("render-demo", "--workers=-1"),
    ],
)
def test_numbers_that_are_no_settings_are_refused(command, option):
    result = run(command, *needed(command), option)
    assert result.exit_code == 2
    assert option.partition("=")[0] in result.output and "than or equal to" in result.output


def test_a_shard_beyond_the_last_is_refused():
    result = run("probe-videos", *needed("probe-videos"), "--shard=5", "--shards=2")
    assert result.exit_code == 1
    assert result.output == "error: --shard 5: shards are counted from 0; of 2 the last one is 1.\n"


@pytest.mark.parametrize("entry", ["train:lines=x", "train:lines=-1", "train=5", ":lines=5", "train:lines=1.5"])
def test_known_counts_are_whole_numbers_of_a_split(entry):
    files = ("--annotations", "train=a", "--output", "o", "--report", "r", "--expected", entry)
    result = run("parse-annotations", "--annotation-format", "charades_sta", *files)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: --expected {entry}: expected SPLIT:COUNT=NUMBER")


def test_an_assignment_without_a_value_is_named(tmp_path):
    result = run(
        *("parse-annotations", "--annotation-format", "charades_sta", "--annotations", "train="),
        *("--output", tmp_path / "m.csv", "--report", tmp_path / "r.json"),
    )
    assert result.exit_code == 1
    assert "--annotations train=: expected NAME=VALUE" in result.output


def test_settings_of_a_dataset_are_shown():
    result = run("config", "show", "--dataset", "demo")
    assert "hidden: 128" in result.output


def test_the_version_is_that_of_the_package():
    assert run("--version").output == f"vmr {__version__}\n"


def test_help_has_commands_in_groups_in_this_order():
    text = run("--help").output
    titles = ["─ Data ─", "─ Run ─", "─ Use ─", "─ Stages, "]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    for name, group in (("doctor", 0), ("assets", 0), ("progress", 1), ("locate", 2), ("train", 3), ("report", 3)):
        assert places[group] < text.index(f"│ {name} ") < [*places, len(text)][group + 1], name


def test_a_shell_completes_names_of_datasets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named_dataset("") == []
    (tmp_path / "config.yaml").write_text("datasets: {mine: {}, my_other: {}, demo: {}}\n")
    assert named_dataset("m") == ["mine", "my_other"]


@pytest.mark.parametrize(("options", "told"), [((), False), (("-v",), True), (("-q",), False)])
def test_what_goes_on_inside_is_told_when_asked_for(tmp_path, options, told):
    (tmp_path / "train.txt").write_text("AAAAA 1.0 2.5##a dog runs.\n")
    command = [
        *(sys.executable, "-m", "vmr", *options, "parse-annotations", "--annotation-format", "charades_sta"),
        *("--annotations", "train=train.txt", "--output", "m.csv", "--report", "r.json"),
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ("INFO vmr.annotations" in result.stderr) == told
    assert (tmp_path / "m.csv").read_text().splitlines()[1].startswith("train:1,AAAAA,train,1.0,2.5")
