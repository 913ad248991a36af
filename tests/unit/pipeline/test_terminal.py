"""Snakemake's messages as its own logger hands them over: a line a job."""

import io
import logging
import time

import pytest
from snakemake.logging import ColorizingTextHandler, DefaultFormatter, logger
from snakemake_interface_logger_plugins.common import LogEvent

from vmr.pipeline import terminal

JOB = {
    "rule_name": "train",
    "rule_msg": None,
    "input": [f"work/d/frames/shard_{number}.csv" for number in range(60)],
    "output": ["work/d/runs/history.csv"],
    "log": ["train.log"],
    "benchmark": None,
    "wildcards": {"dataset": "d", "extractor": "i3d", "method": "ci_mha", "seed": "3"},
    "reason": "Missing output files: work/d/runs/history.csv; Input files updated by another job: a.csv, b.csv",
    "resources": {},
}


@pytest.fixture
def shown(monkeypatch):
    """What the logger's stream shows, once its messages come a line a job."""
    stream = io.StringIO()
    handler = ColorizingTextHandler(nocolor=True, stream=stream, formatter=DefaultFormatter())
    handler.name = "DefaultStreamHandler"
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    logger.setLevel(logging.INFO)
    return stream


def say(message, event=None, *, level=logging.INFO, **values):
    logger.log(level, message, extra={**({"event": event} if event else {}), **values})


def one_line(*, dryrun=False):
    return terminal.one_line_a_job(dryrun=lambda: dryrun, unknown=lambda target: f"{target}: near")


def test_a_job_is_a_line_when_it_ends(shown):
    formatter = one_line()
    say("stats", LogEvent.RUN_INFO, stats={"train": 2, "total": 2})
    for number in (7, 8):
        say("Rule: train", LogEvent.JOB_INFO, **JOB, jobid=number)
    assert shown.getvalue() == "" and list(formatter.at_work) == [7, 8]
    formatter.at_work[7].began = formatter.at_work[7].began.replace(year=2020)
    say("Finished jobid: 7", LogEvent.JOB_FINISHED, job_id=7)
    say("1 of 2", LogEvent.PROGRESS, done=1, total=2)
    (line,) = shown.getvalue().splitlines()
    assert line.startswith("[1 of 2] train d i3d ci_mha seed 3: ") and line.endswith(" h")
    assert list(formatter.at_work) == [8]


def test_a_failed_job_is_a_line_with_the_last_words_of_its_log(shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.log").write_text("INFO a\n10 %\r20 %\rerror: the disk is full\n")
    one_line()
    say("Rule: train", LogEvent.JOB_INFO, **JOB, jobid=7)
    failed = {"conda_env": None, "shellcmd": "python ...", "aux": {}, "rule_name": "train", "log": ["train.log"]}
    say("Error", LogEvent.JOB_ERROR, level=logging.ERROR, jobid=7, **failed)
    assert shown.getvalue() == "train d i3d ci_mha seed 3: FAILED: error: the disk is full\n"


def test_a_dry_run_has_a_line_a_job_with_the_reason_and_its_numbers_once(shown):
    one_line(dryrun=True)
    for _ in range(2):
        say("Job stats:\ntrain 1", LogEvent.RUN_INFO, stats={"train": 1, "total": 1})
        say("Rule: train", LogEvent.JOB_INFO, **JOB, jobid=7)
    lines = [line for line in shown.getvalue().splitlines() if line]
    job = "train d i3d ci_mha seed 3: not there yet (work/d/runs/history.csv)"
    assert lines == ["Job stats:", "train 1", job, job]


def test_a_dry_run_beside_a_run_is_no_error(shown):
    one_line(dryrun=True)
    say("Error: Directory cannot be locked. Another Snakemake instance is running.")
    assert shown.getvalue().startswith("Another run works on some of these files; ")


def test_a_wrong_target_is_told_with_the_nearest_right_one(shown):
    one_line()
    text = "MissingRuleException:\nNo rule to produce results/x.csv (if you use input functions make sure ...)."
    say(text, LogEvent.ERROR, level=logging.ERROR, exception="MissingRuleException")
    say("WorkflowError:\nanother", LogEvent.ERROR, level=logging.ERROR, exception="WorkflowError")
    assert shown.getvalue() == "results/x.csv: near\nWorkflowError:\nanother\n"


def test_what_tells_nothing_is_left_out(shown):
    one_line()
    for text in (
        "Building DAG of jobs...",
        "Select jobs to execute...",
        "Provided cores: 2",
        "Nothing to be done (x).",
    ):
        say(text)
    assert shown.getvalue() == "Nothing to be done (x).\n"


@pytest.mark.parametrize(("local", "told"), [(True, "for "), (False, "queued for ")])
def test_only_what_a_scheduler_holds_is_queued(shown, tmp_path, local, told):
    formatter = one_line()
    say("Rule: train", LogEvent.JOB_INFO, **{**JOB, "local": local}, jobid=7)
    assert formatter.telling(tmp_path).startswith(f"train d i3d ci_mha seed 3: {told}")


def test_jobs_at_work_are_told_until_the_end(shown, tmp_path, monkeypatch, capsys):
    (tmp_path / "work/d/runs").mkdir(parents=True)
    (tmp_path / "work/d/runs/history.csv").write_text("epoch,seconds\n1,40\n2,50\n")
    (tmp_path / "train.log").touch()
    formatter = one_line()
    say("Rule: train", LogEvent.JOB_INFO, **JOB, jobid=7)
    formatter.at_work[7].began = formatter.at_work[7].began.replace(year=2020)
    monkeypatch.setattr(terminal, "_FIRST_SEC", 0.01)
    over = terminal.keep_telling(formatter, tmp_path)
    told, until = "", time.monotonic() + 30
    while not told and time.monotonic() < until:
        time.sleep(0.05)
        told = capsys.readouterr().err
    over.set()
    assert told.startswith("train d i3d ci_mha seed 3: epoch 2, 45 s each\n")


def test_a_run_ends_once_a_failed_check_leaves_no_table(shown, monkeypatch):
    ended = []
    monkeypatch.setattr(terminal.os, "kill", lambda pid, number: ended.append(number))
    logger.addHandler(terminal.StopAfterChecks(lambda failed: failed == {"a", "b"}))

    def fail(rule, dataset):
        more = {"input": [], "log": [], "conda_env": None, "shellcmd": "", "aux": {}, "jobid": 1}
        output = [f"work/{dataset}/annotations/checks.txt"]
        say("Error", LogEvent.JOB_ERROR, level=logging.ERROR, rule_name=rule, output=output, **more)

    fail("train", "a")
    fail("check_annotations", "a")
    assert ended == []
    fail("check_features", "b")
    fail("check_features", "b")
    assert ended == [terminal.signal.SIGTERM]
