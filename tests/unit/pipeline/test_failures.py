import pytest

from vmr.pipeline.failures import failed_jobs, options_of, outcomes, summary

LOG = """[Tue Nov 24 03:51:16 2026]
Error in rule train:
    message: None
    jobid: 4
    input: work/demo/queries/queries.h5
    output: work/demo/runs/i3d/mha/seed_0/checkpoint.safetensors, work/demo/runs/i3d/mha/seed_0/run.json
    log: logs/demo/train/i3d_mha_0.log, logs/slurm/rule_train/3.log (check log file(s) for error details)
    shell:
        python -m vmr train > logs/demo/train/i3d_mha_0.log 2>&1
        (command exited with non-zero exit code)

[Tue Nov 24 03:51:20 2026]
Error in rule decode_frames:
    jobid: 7
    output: work/demo/frames/shard 1.h5
    log: logs/demo/decode_frames/1.log (check log file(s) for error details)
Trying to restart job 7.
[Tue Nov 24 03:52:20 2026]
Finished jobid: 7 (Rule: decode_frames)
"""


def test_a_job_that_succeeded_later_is_no_failure():
    (job,) = failed_jobs(LOG)
    assert job.rule == "train"
    assert job.outputs[0] == "work/demo/runs/i3d/mha/seed_0/checkpoint.safetensors" and len(job.outputs) == 2
    assert job.logs == ["logs/demo/train/i3d_mha_0.log", "logs/slurm/rule_train/3.log"]


def test_the_summary_has_the_last_lines_and_the_command(tmp_path):
    folder = tmp_path / "logs" / "demo" / "train"
    folder.mkdir(parents=True)
    lines = [f"line {number}" for number in range(20)]
    (folder / "i3d_mha_0.log").write_text("\n".join([*lines, "1%\r50%\r99%", "error: the loss is not a number"]) + "\n")
    text = summary(LOG, folder=tmp_path, options=["--cores", "8"])
    assert text.startswith("1 job failed.")
    assert "    error: the loss is not a number" in text and "    99%\n" in text
    assert "line 14" in text and "line 13" not in text  # eight lines
    assert "logs/slurm/rule_train/3.log:\n    (not written)" in text
    assert "snakemake --cores 8 -- work/demo/runs/i3d/mha/seed_0/checkpoint.safetensors" in text


def test_the_command_is_the_users_own_but_for_its_targets():
    slurm = ["--workflow-profile", "slurm", "--default-resources", "slurm_account=me", "mem_mb=2000"]
    assert options_of([*slurm, "--", "results/a.csv", "results/b.csv"], {"results/a.csv", "results/b.csv"}) == slurm
    assert options_of(["results/a.csv", "-c8", "--configfile", "my own.yaml"], {"results/a.csv"}) == [
        *("-c8", "--configfile", "my own.yaml")
    ]
    assert options_of(["-F", "--cores", "2", "--forcerun", "train", "evaluate", "-k"], set()) == ["--cores", "2", "-k"]


@pytest.mark.parametrize(
    "words",
    [
        "-f",
        "-F",
        "-R train evaluate",
        "-Rtrain",
        "--forcerun=train",
        "--forcea",  # argparse takes the beginning of a name
        "--until decode_frames",
        "--until=decode_frames",
        "-U decode_frames",
        "-O evaluate",
        "--omit-from evaluate",
        "-P train",
        "--batch merge_features=1/3",
        "./results/a.csv",
        "results//a.csv",
        "-- b.csv -F",
    ],
)
def test_nothing_else_of_what_to_run_or_to_force_is_kept(words):
    kept = ["--cores", "2", "-s", "my/Ffile", "--force-use-threads"]
    assert options_of([*kept, *words.split()], {"results/a.csv"}) == kept


def test_letters_that_stand_together_are_taken_apart():
    assert options_of(["-kF", "-c8"], set()) == ["-k", "-c8"]
    assert options_of(["-pFkRtrain", "-d", "/F"], set()) == ["-pk", "-d", "/F"]
    assert options_of(["-kR", "train", "-kc2", "-d/F/R"], set()) == ["-k", "-kc2", "-d/F/R"]


def test_names_are_quoted_and_many_failures_are_counted(tmp_path):
    block = LOG.split("\n\n")[1].split("Trying")[0]
    log = "\n".join(block.replace("jobid: 7", f"jobid: {number}") for number in range(7))
    text = summary(log, folder=tmp_path, options=["--cores", "2"])
    assert "snakemake --cores 2 -- 'work/demo/frames/shard 1.h5'" in text
    assert text.endswith("and 2 more: decode_frames")


def test_nothing_is_said_of_a_run_without_failed_jobs(tmp_path):
    assert summary("Finished jobid: 3\n", folder=tmp_path, options=[]) == ""


def test_what_came_of_a_run_is_told_with_its_warnings(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/a_table.md").write_text("# A\n\nR1@m is ...\n")
    note = "the networks learned nothing (no training video has features)."
    (tmp_path / "results/b_table.md").write_text(f"# B\n\n**No result**: {note}\n\nR1@m\n")
    targets = {"results/b_report.html", "results/a_table.csv", "results/b_table.csv", "work/x.h5", "all"}
    assert outcomes(targets, tmp_path) == [
        "results/a_table.csv is there",
        f"results/b_report.html is there; NO RESULT: {note}",
        f"results/b_table.csv is there; NO RESULT: {note}",
    ]
