import os

import pandas as pd
import pytest

from vmr.errors import EvaluationError
from vmr.pipeline.costs import stage_costs, write_costs

HEADER = "s\th:m:s\tmax_rss\tcpu_time\n"


@pytest.fixture
def measured(tmp_path):
    """Benchmark files of two stages and their logs: work/d/benchmarks and logs/d."""
    files = {
        "work/d/benchmarks/parse_annotations.tsv": "2.0\t0:00:02\t90.0\t1.5\n",
        "work/d/benchmarks/train/i3d_mha_0.tsv": "100.0\t0:01:40\t900.0\t150.0\n",
        "work/d/benchmarks/train/i3d_mha_1.tsv": "60.0\t0:01:00\t1100.0\t80.0\n",
        "work/d/benchmarks/make_table.tsv": "0.1\t0:00:00\t-\t-\n",
    }
    for age, (name, row) in enumerate(files.items()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + row)
        os.utime(path, (1000 + age, 1000 + age))
    logs = tmp_path / "logs/d/train"
    logs.mkdir(parents=True)
    said = "INFO vmr.machine.devices: a card was held for {} s, with at most {} MiB in use\n"
    (logs / "i3d_mha_0.log").write_text("begin\n" + said.format("95.5", "2048"))
    (logs / "i3d_mha_1.log").write_text(said.format("50.0", "3000"))
    # The line of a minute ago is no news.
    near = "INFO vmr.machine.use_log: 90.0 % of what this machine can do, over 60.0 s\n"
    near += "INFO vmr.machine.use_log: {} % of what this machine can do, over {} s: frames come slowly\n"
    (logs / "i3d_mha_0.log").open("a").write(near.format("20.0", "30.0"))
    (logs / "i3d_mha_1.log").open("a").write(near.format("60.0", "90.0"))
    return tmp_path


def test_costs_are_gathered_by_rule(measured):
    costs = stage_costs([measured / "work/d/benchmarks"])
    assert [cost.rule for cost in costs] == ["parse_annotations", "train", "make_table"]
    train = costs[1]
    assert (train.jobs, train.seconds, train.longest, train.cpu_seconds, train.memory_mb) == (2, 160, 100, 230, 1100)
    assert (train.gpu_seconds, train.gpu_memory_mb) == (145.5, 3000)
    assert train.share_of_machine == pytest.approx((0.2 * 30 + 0.6 * 90) / 120)
    assert costs[0].gpu_seconds is None and costs[2].memory_mb is None and costs[0].share_of_machine is None


def test_children_between_two_polls_count(measured):
    """Snakemake told 7 s of jobs that took 100, since it sees no child that ends before it looks again."""
    (measured / "logs/d/parse_annotations.log").write_text(
        "INFO vmr.machine.use_log: 31.5 s of processor time, with all processes that it waited for\n"
    )
    with (measured / "logs/d/train/i3d_mha_0.log").open("a") as log:
        log.write("INFO vmr.machine.use_log: 1.0 s of processor time, with all processes that it waited for\n")
    costs = stage_costs([measured / "work/d/benchmarks"])
    assert (costs[0].cpu_seconds, costs[1].cpu_seconds) == (31.5, 230)


def test_only_the_files_that_are_named_count(measured):
    """Beside them lie those of a second shard, of a method that is trained no more, and of what datasets share."""
    for name in (
        "work/d/benchmarks/decode_frames/0",
        "work/d/benchmarks/decode_frames/1",
        "work/benchmarks/fetch/d/a.txt",
    ):
        path = measured / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + "3.0\t0:00:03\t90.0\t1.5\n")
    own = measured / "work/d/benchmarks"
    named = ["*.tsv", "decode_frames/{0..0}.tsv", "train/i3d_mha_0.tsv", "train/i3d_mha_0.tsv", "train/i3d_mha_2.tsv"]
    costs = stage_costs([*(own / name for name in named), measured / "work/benchmarks/fetch/d/a.txt.tsv"])
    assert {cost.rule: (cost.jobs, cost.seconds, cost.gpu_seconds) for cost in costs} == {
        "parse_annotations": (1, 2.0, None),
        "train": (1, 100.0, 95.5),
        "make_table": (1, 0.1, None),
        "decode_frames": (1, 3.0, None),
        "fetch": (1, 3.0, None),
    }


def test_the_costs_are_written_as_a_table(measured):
    output = measured / "costs.csv"
    write_costs([measured / "work/d/benchmarks"], output=output)
    table = pd.read_csv(output)
    assert list(table) == [
        "rule", "jobs", "seconds", "longest", "cpu_seconds", "memory_mb", "gpu_seconds", "gpu_memory_mb",
        "share_of_machine",
    ]  # fmt: skip
    assert table.loc[1].tolist() == ["train", 2, 160.0, 100.0, 230.0, 1100.0, 145.5, 3000.0, 0.5]


def test_a_dataset_without_measured_jobs_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="no benchmark file"):
        write_costs([tmp_path], output=tmp_path / "costs.csv")


def test_what_a_process_logs_of_its_card_is_understood(caplog, monkeypatch):
    import torch

    from vmr.machine import devices, use_log

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 3 * 2**20)
    with caplog.at_level("INFO"):
        devices._log_use(torch.device("cuda", 0), begin=0.0)
    ((seconds, memory),) = use_log.cards_used(caplog.text)
    assert seconds > 0 and memory == 3


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (100.0, "60.0 % of what this machine can do, over 100.0 s: its cores waited"),
        (50.0, "100.0 % of what this machine can do, over 50.0 s\n"),
        (9.0, None),
    ],
)
def test_a_stage_tells_which_share_of_its_cores_it_used(caplog, monkeypatch, seconds, told):
    """Own and children's processor seconds, 120 in all, of two cores, since more workers than cores get no more."""
    from vmr.machine import use_log

    times = iter([(1.0, 1.0, 0.0, 0.0, 5.0), (21.0, 11.0, 60.0, 30.0, 5.0 + seconds)])
    monkeypatch.setattr(use_log.os, "times", lambda: next(times))
    monkeypatch.setattr(use_log.os, "sched_getaffinity", lambda process: {0, 1})
    with caplog.at_level("INFO"), use_log.cores_told(4):
        pass
    assert told in caplog.text if told else not caplog.text
