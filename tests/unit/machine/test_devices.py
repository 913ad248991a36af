"""Devices by name, and cards that processes of one machine take in turns; no card is needed for that."""

import os
import select
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vmr.errors import ConfigError
from vmr.machine import devices
from vmr.machine.devices import choose_device, claim_card, claim_device

CARDS = {0: "GPU-a", 1: "GPU-b"}


class Claim:
    """A process that claims one of some cards and holds it until it is killed.

    Forked, since a fresh one would take seconds to import torch.
    """

    def __init__(self, cards, folder):
        reading, writing = os.pipe()
        self.process = os.fork()
        if not self.process:
            os.write(writing, str(claim_card(cards, folder=folder)).encode())
            signal.pause()
        os.close(writing)
        self._answer = reading

    def taken(self, *, within=20.0):
        """The number of its card; None when it still waits after so many seconds."""
        ready, _, _ = select.select([self._answer], [], [], within)
        return int(os.read(self._answer, 9)) if ready else None

    def kill(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self._answer)
        self.process = None


def release_cards():
    while devices._held:
        os.close(devices._held.popitem()[1])


@pytest.fixture(autouse=True)
def released(monkeypatch):
    for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "VMR_SHARE_GPU"):
        monkeypatch.delenv(name, raising=False)
    yield
    release_cards()


@pytest.fixture
def claims(tmp_path, monkeypatch):
    """Start a process that claims one of some cards, and holds it."""
    monkeypatch.setattr("vmr.machine.devices._LOOK_AGAIN_SEC", 0.05)
    started = []

    def start(cards=CARDS):
        started.append(Claim(cards, tmp_path))
        return started[-1]

    yield start
    for claim in started:
        if claim.process is not None:
            claim.kill()


@pytest.fixture
def two_cards(monkeypatch, tmp_path):
    """Torch as it answers on a machine of two cards; the numbers of those made current."""
    current = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: SimpleNamespace(uuid=CARDS[index]))
    monkeypatch.setattr("torch.cuda.set_device", current.append)
    monkeypatch.setattr("vmr.machine.devices._LOCKS", tmp_path)
    return current


def test_names_of_devices(two_cards, monkeypatch):
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1") and choose_device("cpu") == torch.device("cpu")
    for wrong in ("tpu", "cuda1", "cuda:", "cuda:x", "cpu:0"):
        with pytest.raises(ConfigError, match=f"device is '{wrong}'; expected auto, cpu or cuda"):
            choose_device(wrong)
    with pytest.raises(ConfigError, match="device is cuda:2, but torch finds 2 CUDA devices"):
        choose_device("cuda:2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto") == claim_device("auto") == torch.device("cpu")
    for absent in ("cuda", "cuda:0"):
        with pytest.raises(ConfigError, match=f"device is {absent}, but torch finds no CUDA device"):
            claim_device(absent)


def test_two_cards_serve_two_processes_and_the_third_waits_for_either(claims, tmp_path):
    first = claims()
    assert first.taken() == 0
    assert claims().taken() == 1
    third = claims()
    assert third.taken(within=0.3) is None
    first.kill()  # as the kernel ends a job without memory: nothing is left to clean up
    assert third.taken() == 0


def test_a_process_that_sees_one_card_waits_for_that_one_whatever_its_number(claims):
    assert claims().taken() == 0  # GPU-a
    other = claims({0: "GPU-a"})
    assert other.taken(within=0.3) is None
    assert claims({0: "GPU-b"}).taken() == 0


def test_a_process_claims_once(two_cards, claims):
    assert claims().taken() == 0
    assert claim_device("auto") == claim_device("cuda") == torch.device("cuda:1")
    assert two_cards == [1, 1]
    release_cards()
    assert claims({1: "GPU-b"}).taken() == 1


def test_a_card_that_is_named_is_claimed(two_cards, tmp_path):
    assert claim_device("cuda:1") == torch.device("cuda:1")
    assert [path.name for path in tmp_path.iterdir()] == ["vmr-gpu-GPU-b.lock"]


@pytest.mark.parametrize("variable", ["SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "VMR_SHARE_GPU"])
def test_what_slurm_assigned_or_the_user_shares_is_taken_without_a_claim(two_cards, monkeypatch, tmp_path, variable):
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2 if variable == "VMR_SHARE_GPU" else 1)
    assert claim_device("auto") == torch.device("cuda")
    assert not list(tmp_path.iterdir()) and two_cards == []


@pytest.mark.parametrize("variable", ["SLURM_JOB_GPUS", "SLURM_STEP_GPUS"])
def test_several_cards_of_a_slurm_session_are_claimed_one_by_one(two_cards, claims, monkeypatch, variable):
    monkeypatch.setenv(variable, "0,1")
    assert claims().taken() == 0
    assert claim_device("auto") == torch.device("cuda:1")


def test_users_with_other_folders_for_temporary_files_share_the_locks(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/somewhere/private")
    assert Path("/tmp") == devices._LOCKS


def test_the_lock_of_another_user_is_enough_to_read(claims, tmp_path):
    # In /tmp, Linux refuses O_CREAT for the files of others (fs.protected_regular): it must not be asked for then.
    (tmp_path / "vmr-gpu-GPU-a.lock").touch(mode=0o444)
    assert claims({0: "GPU-a"}).taken() == 0
    assert claims({0: "GPU-a"}).taken(within=0.3) is None


def test_a_link_is_not_followed_and_a_folder_without_locks_is_warned_about(tmp_path, caplog):
    (tmp_path / "vmr-gpu-GPU-a.lock").symlink_to(tmp_path / "elsewhere")
    assert claim_card({3: "GPU-a"}, folder=tmp_path) == 3
    assert "cards cannot be locked here" in caplog.text
    assert not os.path.lexists(tmp_path / "elsewhere")
