from pathlib import Path

import pytest

from vmr.machine.memory import free_memory_bytes

GIB = 2**30


@pytest.fixture
def machine(tmp_path):
    """A tree like that of a machine with 64 GiB free; `write` adds files to it."""

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write(
        "proc/meminfo", f"MemTotal:       {100 * 2**20} kB\nMemAvailable:   {64 * 2**20} kB\nHugePages_Total:       0\n"
    )
    write("proc/self/cgroup", "0::/system.slice/job_7/step_0\n")
    return tmp_path, write


def second_generation(write, group, *, limit, used, files=0):
    folder = f"sys/fs/cgroup/{group}"
    write(f"{folder}/memory.max", f"{limit}\n")
    write(f"{folder}/memory.current", f"{used}\n")
    write(f"{folder}/memory.stat", f"anon {used - files}\ninactive_file {files}\nactive_file 5\n")


def test_without_limits_it_is_that_of_the_machine(machine):
    root, write = machine
    assert free_memory_bytes(root) == 64 * GIB
    second_generation(write, "system.slice/job_7/step_0", limit="max", used=GIB)
    assert free_memory_bytes(root) == 64 * GIB


def test_the_limit_of_a_job_holds_for_its_steps(machine):
    root, write = machine
    second_generation(write, "system.slice/job_7/step_0", limit="max", used=GIB)
    # Pages of files that were read are given back when memory is needed.
    second_generation(write, "system.slice/job_7", limit=5 * GIB, used=3 * GIB, files=GIB)
    assert free_memory_bytes(root) == 3 * GIB
    second_generation(write, "system.slice/job_7/step_0", limit=2 * GIB, used=3 * GIB)
    assert free_memory_bytes(root) == 0


def test_the_first_generation_and_a_container_that_sees_only_its_own_group(machine):
    root, write = machine
    write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/docker/0123\n0::/\n")
    folder = "sys/fs/cgroup/memory"
    write(f"{folder}/memory.limit_in_bytes", f"{4 * GIB}\n")
    write(f"{folder}/memory.usage_in_bytes", f"{GIB}\n")
    write(f"{folder}/memory.stat", "inactive_file 1\ntotal_inactive_file 10\n")
    assert free_memory_bytes(root) == 3 * GIB + 10
    # What stands for "no limit" there.
    write(f"{folder}/memory.limit_in_bytes", "9223372036854771712\n")
    assert free_memory_bytes(root) == 64 * GIB


def test_a_system_that_does_not_say(tmp_path):
    assert free_memory_bytes(tmp_path) == 8 * GIB


def test_this_machine():
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert 0 < free_memory_bytes() <= int(total.split()[1]) * 1024
