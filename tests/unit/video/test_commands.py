"""Numbers that the commands of annotations and videos refuse, before they read a file."""

import pytest
from typer.testing import CliRunner

from vmr.cli import app

FILES = {
    "render-demo": ["--output", "o"],
    "probe-videos": ["--moments", "m", "--videos", "v", "--output", "o"],
    "decode-frames": ["--manifest", "m", "--output", "o", "--decoded-manifest", "d"],
}


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("probe-videos", ["--probe-timeout-sec=-1"], "probe_timeout_sec: Input should be greater than 0"),
        ("probe-videos", ["--probe-timeout-sec=inf"], "probe_timeout_sec: Input should be a finite number"),
        ("decode-frames", ["--fps=nan"], "fps: Input should be a finite number"),
        ("decode-frames", ["--fps=1e9"], "fps: Input should be less than or equal to 240"),
        ("decode-frames", ["--short-side=0"], "short_side: Input should be greater than or equal to 2"),
        ("decode-frames", ["--decode-timeout-sec=0"], "decode_timeout_sec: Input should be greater than 0"),
        ("decode-frames", ["--max-failed-share=1.5"], "max_failed_share: Input should be less than or equal to 1"),
        ("render-demo", ["--train-videos=0"], "train_videos: Input should be greater than 0"),
        ("render-demo", ["--test-videos=0"], "test_videos: Input should be greater than 0"),
        ("render-demo", ["--duration-sec=nan"], "duration_sec: Input should be a finite number"),
        ("render-demo", ["--duration-sec=1"], "duration_sec: Input should be greater than or equal to 3"),
    ],
)
def test_numbers_that_cannot_be_are_refused(command, options, message):
    result = run(command, *FILES[command], *options)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: vmr {command}: 1 entries are wrong:\n  {message}"), result.output


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
    result = run(command, *FILES[command], option)
    assert result.exit_code == 2
    assert option.partition("=")[0] in result.output and "than or equal to" in result.output


def test_a_shard_beyond_the_last_is_refused():
    result = run("probe-videos", *FILES["probe-videos"], "--shard=5", "--shards=2")
    assert result.exit_code == 1
    assert result.output == "error: --shard 5: shards are counted from 0; of 2 the last one is 1.\n"


@pytest.mark.parametrize("entry", ["train:lines=x", "train:lines=-1", "train=5", ":lines=5", "train:lines=1.5"])
def test_known_counts_are_whole_numbers_of_a_split(entry):
    files = ("--annotations", "train=a", "--output", "o", "--report", "r", "--expected", entry)
    result = run("parse-annotations", "--annotation-format", "charades_sta", *files)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: --expected {entry}: expected SPLIT:COUNT=NUMBER")
