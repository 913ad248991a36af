"""A Slurm of our own: munge, controller and nodes on the loopback address, under one folder.

All nodes are daemons of this machine, told apart by name and port, which Debian's build of Slurm allows. Nothing of a
Slurm that is installed for real is read or stopped: the configuration, the sockets, the key and the ports are ours.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
# Both nodes together may ask for what the machine hardly has: jobs here are small, whatever they request.
NODES = ("node1", "node2")
_STARTING_SEC = 30

_CONFIGURATION = """
ClusterName=vmrtest
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=3600
SchedulerParameters=sched_interval=2
NodeName=node[1-{nodes}] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] \
CPUs=16 RealMemory=32000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no Slurm can be started here; None when it can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: install Debian's slurm-wlm and munge (`make test-slurm` does, as root)"
    if os.getuid() != 0:
        return "the daemons of Slurm start jobs as their owners, for which they must run as root"
    return None


@dataclass
class Cluster:
    """A running Slurm.

    Attributes:
        folder: of everything it writes.
        environment: variables with which the commands of Slurm find it.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start munge, the controller and all nodes, and wait until these are idle."""
        munge = self.folder / "munge"
        munge.mkdir(parents=True, mode=0o700)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        key = munge / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        first = _free_ports(1 + len(NODES))
        text = _CONFIGURATION.format(
            user="root", folder=self.folder, nodes=len(NODES), ports=(first, first + 1, first + len(NODES))
        )
        (self.folder / "slurm.conf").write_text(text)
        # The card is a device that every machine has: jobs here compute on CPUs, but ask and wait for it.
        (self.folder / "gres.conf").write_text(f"NodeName=node[1-{len(NODES)}] Name=gpu File=/dev/zero\n")
        self.environment = os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(self._wrappers()), os.environ.get("PATH", "")]),
        }
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self._run("munged", "--force", *(f"--{option}={munge / name}" for option, name in files.items()))
        self._run("slurmctld", "-c")
        for node in NODES:
            self.start_node(node)
        self._wait_for_idle_nodes()

    def stop(self) -> None:
        """End what `start` began, jobs first."""
        subprocess.run(["scancel", "--user=root"], env=self.environment, check=False, capture_output=True)
        time.sleep(1)
        for name in (*(f"slurmd-{node}.pid" for node in NODES), "slurmctld.pid", "munge/pid"):
            _end(self.folder / name)

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._run("slurmd", "-N", node)

    def kill_node(self, node: str, *, job: str) -> None:
        """What a loss of power does: the node's daemon and a job's processes on it are gone at once."""
        _end(self.folder / f"slurmd-{node}.pid", with_signal=signal.SIGKILL)
        for process in self._processes_of(job):
            os.kill(process, signal.SIGKILL)

    def jobs(self, folder: Path, *, states: str = "all") -> list[dict[str, str]]:
        """Jobs of a working folder: id, name, state, node, folder, comment (with the rule)."""
        output = self.call("squeue", "--noheader", f"--states={states}", "--format=%A|%j|%T|%N|%Z|%k").splitlines()
        names = ("id", "name", "state", "node", "folder", "comment")
        jobs = [dict(zip(names, line.split("|", 5), strict=True)) for line in output]
        return [job for job in jobs if job["folder"] == str(folder)]

    def call(self, *command: str) -> str:
        """Output of one of Slurm's commands."""
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def _wrappers(self) -> Path:
        """A folder of Slurm's commands that know the configuration: inside jobs the variable that names it is gone."""
        folder = self.folder / "bin"
        folder.mkdir()
        for name in PROGRAMS:
            script = folder / name
            script.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_program(name)} "$@"\n')
            script.chmod(0o755)
        return folder

    def _processes_of(self, job: str) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if f"SLURM_JOB_ID={job}".encode() in variables or f"[{job}.".encode() in command:
                found.append(int(folder.name))
        return found

    def _run(self, *command: str) -> None:
        result = subprocess.run(
            [_program(command[0]), *command[1:]], env=self.environment, capture_output=True, text=True, timeout=60
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)}: {result.stderr}{result.stdout}")

    def _wait_for_idle_nodes(self) -> None:
        deadline = time.monotonic() + _STARTING_SEC
        while time.monotonic() < deadline:
            try:
                states = self.call("sinfo", "--noheader", "--Node", "--format=%T").split()
            except subprocess.CalledProcessError:  # the controller does not listen yet
                states = []
            if states == ["idle"] * len(NODES):
                return
            time.sleep(0.3)
        logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
        raise RuntimeError(f"the nodes are not idle after {_STARTING_SEC} s: {states}\n{logs}")


def _program(name: str) -> str | None:
    """Where a program is; daemons lie in folders that users do not search."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def _free_ports(count: int) -> int:
    """The first of some ports in a row that nobody listens on."""
    for first in range(26817, 60000, 10 + count):
        try:
            for port in range(first, first + count):
                with socket.socket() as trial:
                    trial.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports")


def _end(pid_file: Path, *, with_signal: signal.Signals = signal.SIGTERM) -> None:
    """End the process that a file names, and wait until it is gone."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, with_signal)
    except (OSError, ValueError):
        return
    deadline: float = time.monotonic() + 10
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        time.sleep(0.1)
