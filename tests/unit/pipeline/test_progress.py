import os
import platform
import subprocess
import sys
from datetime import datetime

import pytest

from vmr.errors import ConfigError
from vmr.pipeline.progress import progress
from vmr.storage.shard import PartialShard

LOG = """Building DAG of jobs...
Job stats:
job             count
------------  -------
probe_videos        2
extract             3
train               2
total               7

Execute 3 jobs...
[Tue Nov 24 12:00:00 2026]
localrule probe_videos:
    output: work/d/videos/shard_0.csv
    jobid: 1
    wildcards: dataset=d, shard=0
[Tue Nov 24 12:00:10 2026]
Finished jobid: 1 (Rule: probe_videos)
[Tue Nov 24 12:00:10 2026]
rule extract:
    input: work/d/frames/shard_0.h5, work/d/frames/shard_0.csv, weights.safetensors
    output: work/d/features/i3d/shard_0.h5, work/d/features/i3d/shard_0.csv
    jobid: 3
    wildcards: dataset=d, shard=0
[Tue Nov 24 12:05:10 2026]
Finished jobid: 3 (Rule: extract)
[Tue Nov 24 12:05:10 2026]
rule extract:
    input: work/d/frames/shard_1.h5, work/d/frames/shard_1.csv, weights.safetensors
    output: work/d/features/i3d/shard_1.h5, work/d/features/i3d/shard_1.csv
    jobid: 4
    wildcards: dataset=d, shard=1
[Tue Nov 24 12:05:10 2026]
rule train:
    input: work/d/features/i3d.h5
    output: work/d/runs/i3d/mha/seed_0/checkpoint.safetensors, work/d/runs/i3d/mha/seed_0/history.csv
    jobid: 6
    wildcards: dataset=d, extractor=i3d, method=mha, seed=0
[Tue Nov 24 12:05:20 2026]
rule train:
    output: work/d/runs/i3d/mha/seed_1/checkpoint.safetensors
    log: logs/d/train/i3d_mha_1.log
    jobid: 7
    wildcards: dataset=d, extractor=i3d, method=mha, seed=1
[Tue Nov 24 12:05:30 2026]
Error in rule train:
    jobid: 7
    output: work/d/runs/i3d/mha/seed_1/checkpoint.safetensors
    log: logs/d/train/i3d_mha_1.log (check log file(s) for error details)
"""
NOW = datetime(2026, 11, 24, 12, 7, 10)
LATEST = ".snakemake/log/2026-11-24T120000.snakemake.log"


@pytest.fixture
def folder(tmp_path):
    logs = tmp_path / ".snakemake" / "log"
    logs.mkdir(parents=True)
    (logs / "2026-11-23T120000.snakemake.log").write_text("Job stats:\n")
    (tmp_path / LATEST).write_text(LOG)
    os.utime(tmp_path / LATEST, (NOW.timestamp() - 90, NOW.timestamp() - 90))
    return tmp_path


def run_on(host, log=LOG, *, command="snakemake --cores 2 all"):
    """The log of a run on a machine, as Snakemake 9.27 begins it."""
    return f"\nSNAKEMAKE\n=========\n  Date: 2026-11-24 12:00:00\n  Host: {host}\n  Command: {command}\n\n{log}"


def test_jobs_are_counted_and_the_time_left_follows_from_those_that_ended(folder):
    lines = progress(folder, now=NOW).splitlines()
    assert lines[0] == "2 of 7 jobs done, 2 running or queued, 1 failed; log last written 90 s ago"
    assert lines[1] == "  probe_videos  1 of 2"
    # Two are left at five minutes each, less the two minutes that one has run.
    assert lines[2] == "  extract       1 of 3, about 8.0 min left at 5.0 min a job"
    assert lines[3].strip() == "shard 1: for 2.0 min"
    assert lines[4] == "  train         0 of 2, 1 failed"
    assert lines[5].strip() == "i3d mha seed 0: for 2.0 min"


def test_the_videos_of_a_shard_at_work_are_counted(folder):
    (folder / "work/d/frames").mkdir(parents=True)
    (folder / "work/d/frames/shard_1.csv").write_text("video_id,status\n" + "".join(f"v{n},ok\n" for n in range(10)))
    with PartialShard(folder / "work/d/features/i3d/shard_1.h5", settings={}) as shard:
        for number in range(4):
            shard.add(f"v{number}", fingerprint="1", row={})
        for number, part in enumerate(sorted(shard.folder.glob("*.h5"))):
            # The first was done by an earlier run. This job waited four hours in a queue.
            minute = datetime(2026, 11, 24, 16 if number else 11, number).timestamp()
            os.utime(part, (minute, minute))
        text = progress(folder, now=datetime(2026, 11, 24, 16, 3))
    # Two in the two minutes after the first of this run; six are left.
    assert "shard 1: 4 of 10 videos, 1 a minute, about 6.0 min left" in text


def test_a_job_of_this_machine_has_begun_before_its_log_and_its_first_video(folder):
    """Snakemake calls a job that it runs itself a local rule; only what a scheduler holds can be queued."""
    waiting = LOG.replace("    jobid: 4", "    log: logs/d/extract/1.log\n    jobid: 4")
    log = folder / LATEST
    (folder / "work/d/frames").mkdir(parents=True)
    (folder / "work/d/frames/shard_1.csv").write_text("video_id,status\nv0,ok\nv1,ok\n")
    for rule, told in (("rule extract", "queued for 2.0 min"), ("localrule extract", "started, none of 2 videos yet")):
        log.write_text(waiting.replace("rule extract", rule))
        assert f"shard 1: {told}\n" in progress(folder, now=NOW)


def test_time_in_a_queue_is_no_time_at_work(folder):
    """Three jobs submitted at once: one has ended after five minutes of work, one runs, one waits."""
    stats, started = LOG.split("Execute")[0], LOG[LOG.index("rule extract") : LOG.index("[Tue Nov 24 12:05:10")]
    log = stats
    for number in range(3):
        block = started.split("[Tue")[0].replace("jobid: 3", f"jobid: {number}").replace("shard=0", f"shard={number}")
        own = f"    log: logs/d/{number}.log\n    benchmark: work/d/benchmarks/extract/{number}.tsv\n"
        log += f"[Tue Nov 24 08:00:00 2026]\n{block}{own}"
    log += "[Tue Nov 24 12:05:10 2026]\nFinished jobid: 0 (Rule: extract)\n"
    (folder / LATEST).write_text(log)
    (folder / "logs/d").mkdir(parents=True)
    for number, hour in ((0, 12), (1, 12), (2, 7)):  # the last is of an earlier run
        (folder / f"logs/d/{number}.log").touch()
        os.utime(folder / f"logs/d/{number}.log", (datetime(2026, 11, 24, hour).timestamp(),) * 2)
    (folder / "work/d/benchmarks/extract").mkdir(parents=True)
    (folder / "work/d/benchmarks/extract/0.tsv").write_text("s\th:m:s\tmax_rss\n300.5\t0:05:00\t-\n")
    lines = [line.strip() for line in progress(folder, now=NOW).splitlines()]
    # Two are left at five minutes each; the one at work may be nearly done.
    assert lines[2] == "extract       1 of 3, about 5.0 min left at 5.0 min a job"
    assert lines[3:5] == ["shard 1: for 4.1 h", "shard 2: queued for 4.1 h"]


def test_a_training_tells_its_epoch(folder):
    run = folder / "work/d/runs/i3d/mha/seed_0"
    run.mkdir(parents=True)
    (run / "history.csv").write_text("epoch,seconds\n1,10.0\n2,14.0\n")
    assert "i3d mha seed 0: epoch 2, 12 s each" in progress(folder, now=NOW)
    (run / "history.csv").write_text("")  # not written yet
    assert "i3d mha seed 0: for 2.0 min" in progress(folder, now=NOW)


def test_jobs_of_shards_tell_how_near_they_come_to_what_the_machine_can_do(folder):
    told = LOG
    for job in (3, 4):
        told = told.replace(f"    jobid: {job}", f"    log: {job}.log\n    jobid: {job}")
    (folder / LATEST).write_text(told)
    (folder / "3.log").write_text("91.3 % of what this machine can do, over 280.0 s\nend\n")
    (folder / "4.log").write_text("12.0 % of what this machine can do, over 60.0 s: reading cannot keep up\n")
    lines = progress(folder, now=NOW).splitlines()
    assert lines[2].endswith("left at 5.0 min a job; 91% of what the machine can do")
    assert lines[3].endswith("for 2.0 min; 12% of what the machine can do: reading cannot keep up")


def test_what_is_at_work_no_longer_once_the_run_has_ended(folder):
    (folder / LATEST).write_text(LOG + "Exiting because a job execution failed. Look above for error messages\n")
    text = progress(folder, now=NOW)
    assert text.startswith("2 of 7 jobs done, the run has ended, 1 failed") and "shard 1" not in text


@pytest.mark.parametrize(
    "later",
    [
        "Unlocked working directory.\n",
        "Building DAG of jobs...\n",  # --summary
        run_on("there", "Nothing to be done (all requested files are present and up to date).\n"),
        run_on("there", LOG + "Complete log(s): here\n", command="snakemake --cores 2 --touch all"),
        run_on("there", LOG + "Complete log(s): here\n", command="snakemake -c2 -t all"),
    ],
)
def test_a_start_that_ran_no_job_does_not_hide_the_run(folder, later):
    (folder / ".snakemake/log/2026-11-24T130000.snakemake.log").write_text(later)
    assert progress(folder, now=NOW).startswith("2 of 7 jobs done, 2 running or queued")


def test_a_killed_run_has_ended(folder):
    """Told only where it can be: on the machine that Snakemake ran on, once nobody writes its log."""
    log = folder / LATEST
    log.write_text(run_on(platform.node()))
    head = subprocess.Popen(
        [sys.executable, "-c", "import sys; file = open(sys.argv[1], 'a'); print(flush=True); sys.stdin.read()", log],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    head.stdout.readline()
    try:
        with log.open():  # a reader is none who writes
            assert "2 running or queued, 1 failed; log last written" in progress(folder)
    finally:
        head.kill()
        head.communicate()
    with log.open():
        lines = progress(folder).splitlines()
    assert lines[0].startswith("2 of 7 jobs done, the run has ended, 1 failed; it was cut off, its log last written")
    assert not any("shard 1" in line for line in lines)
    log.write_text(run_on("elsewhere"))
    os.utime(log, (NOW.timestamp() - 7200, NOW.timestamp() - 7200))
    assert "2 running or queued, 1 failed; log last written 2.0 h ago" in progress(folder, now=NOW)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no log of a run"):
        progress(tmp_path)
