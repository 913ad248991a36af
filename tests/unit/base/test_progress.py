import os
from datetime import datetime

import pytest

from vmr.errors import ConfigError
from vmr.progress import progress
from vmr.shard import PartialShard

LOG = """Building DAG of jobs...
Job stats:
job             count
------------  -------
probe_videos        2
extract_i3d         3
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
rule extract_i3d:
    input: work/d/frames/shard_0.h5, work/d/frames/shard_0.csv, weights.safetensors
    output: work/d/features/i3d/shard_0.h5, work/d/features/i3d/shard_0.csv
    jobid: 3
    wildcards: dataset=d, shard=0
[Tue Nov 24 12:05:10 2026]
Finished jobid: 3 (Rule: extract_i3d)
[Tue Nov 24 12:05:10 2026]
rule extract_i3d:
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


@pytest.fixture
def folder(tmp_path):
    logs = tmp_path / ".snakemake" / "log"
    logs.mkdir(parents=True)
    (logs / "2026-11-23T120000.snakemake.log").write_text("Job stats:\n")
    (logs / "2026-11-24T120000.snakemake.log").write_text(LOG)
    return tmp_path


def test_jobs_are_counted_and_the_time_left_follows_from_those_that_ended(folder):
    lines = progress(folder, now=NOW).splitlines()
    assert lines[0] == "2 of 7 jobs done, 2 running or queued, 1 failed"
    assert lines[1] == "  probe_videos  1 of 2"
    # Two are left at five minutes each, less the two minutes that one has run.
    assert lines[2] == "  extract_i3d   1 of 3, about 8.0 min left at 5.0 min a job"
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
            # The first was done by an earlier run.
            minute = datetime(2026, 11, 24, 11 if number == 0 else 12, 6).timestamp()
            os.utime(part, (minute, minute))
        text = progress(folder, now=NOW)
    # Three in the two minutes of this run; six are left.
    assert "shard 1: 4 of 10 videos, 1.5 a minute, about 4.0 min left" in text


def test_a_training_tells_its_epoch(folder):
    run = folder / "work/d/runs/i3d/mha/seed_0"
    run.mkdir(parents=True)
    (run / "history.csv").write_text("epoch,seconds\n1,10.0\n2,14.0\n")
    assert "i3d mha seed 0: epoch 2, 12 s each" in progress(folder, now=NOW)
    (run / "history.csv").write_text("")  # not written yet
    assert "i3d mha seed 0: for 2.0 min" in progress(folder, now=NOW)


def test_what_is_at_work_no_longer_once_the_run_has_ended(folder):
    log = folder / ".snakemake/log/2026-11-24T120000.snakemake.log"
    log.write_text(LOG + "Exiting because a job execution failed. Look above for error messages\n")
    text = progress(folder, now=NOW)
    assert text.startswith("2 of 7 jobs done, the run has ended, 1 failed") and "shard 1" not in text


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no log of a run"):
        progress(tmp_path)
